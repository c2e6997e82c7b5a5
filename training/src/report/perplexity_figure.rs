//! The perplexity chart: what each model scores under each protocol, side by side.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

use super::PerformanceRow;
use super::axis::{Axis, Key, Plot, Swatch, heading, number};
use super::canvas::{Canvas, Figure, GREY, INK, PAPER, Type};
use super::charts::ChartError;

/// The protocols that lead, with what each scores.
const KNOWN: [(&str, &str); 3] =
    [("notebook", "padding scored too"), ("text", "all real tokens"), ("response", "the answer only")];
/// The Okabe-Ito palette, the most distinct neighbours first.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x33, 0x33, 0x33),
    RGBColor(0xf0, 0xe4, 0x42),
];
/// Beyond this ratio of largest to smallest, short bars could not be read on a linear axis.
const LINEAR_RATIO: f64 = 20.0;
/// A normal variable lies within so many standard errors 95 % of the time.
const WITHIN_95: f64 = 1.96;

/// Checked rows, grouped and ready to draw.
pub(super) struct PerplexityFigure<'a> {
    rows: &'a [PerformanceRow],
    protocols: Vec<&'a str>,
    models: Vec<&'a str>,
}

/// How the values over the bars are set.
#[derive(Clone, Copy)]
struct Values {
    look: Type,
    /// Pixels they need over a bar.
    room: f64,
}

impl<'a> PerplexityFigure<'a> {
    /// Checks and groups the rows.
    ///
    /// # Errors
    /// [`ChartError::Empty`], [`ChartError::Measurement`] or [`ChartError::Duplicate`].
    pub(super) fn new(rows: &'a [PerformanceRow]) -> Result<Self, ChartError> {
        if rows.is_empty() {
            return Err(ChartError::Empty { chart: "perplexity chart", expected: "measurement" });
        }
        for (at, row) in rows.iter().enumerate() {
            check(row)?;
            if rows[..at].iter().any(|other| other.model == row.model && other.protocol == row.protocol) {
                return Err(ChartError::Duplicate {
                    model: row.model.clone(),
                    protocol: row.protocol.clone(),
                });
            }
        }
        let mut protocols = distinct(rows.iter().map(|row| row.protocol.as_str()));
        protocols.sort_by_key(|protocol| {
            KNOWN.iter().position(|known| known.0 == *protocol).unwrap_or(KNOWN.len())
        });
        Ok(Self { rows, protocols, models: distinct(rows.iter().map(|row| row.model.as_str())) })
    }

    fn notes(&self) -> Vec<String> {
        let mut note = String::from("Lower is better.");
        if self.rows.iter().any(|row| row.standard_error.is_some()) {
            note += " Whiskers span the 95\u{a0}% interval.";
        }
        if self.protocols.contains(&"notebook") {
            note += " The notebook protocol scores padding as well.";
        }
        vec![note]
    }

    /// The vertical axis with `headroom` (a share of the height) over the tallest bar, and its name.
    fn axis(&self, headroom: f64) -> (Axis, &'static str) {
        let low = self.rows.iter().map(|row| interval(row).0).fold(f64::INFINITY, f64::min);
        let high = self.rows.iter().map(|row| interval(row).1).fold(0.0, f64::max);
        let smallest = self.rows.iter().map(|row| row.perplexity).fold(f64::INFINITY, f64::min);
        let largest = self.rows.iter().map(|row| row.perplexity).fold(0.0, f64::max);
        if largest / smallest > LINEAR_RATIO {
            let floor = if low >= 1.0 { 1.0 } else { low / 2.0 };
            let top = floor * (high / floor).powf(1.0 / (1.0 - headroom));
            (Axis::logarithmic(floor, top), "perplexity (log scale)")
        } else {
            (Axis::linear(0.0, high / (1.0 - headroom), 7, 0.0), "perplexity")
        }
    }

    /// Sets the values as large as the bars' `pitch` allows, upright where they would be too small to read.
    fn values<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>, pitch: f64) -> Values {
        let widest =
            |look| self.rows.iter().map(|row| canvas.width(&value(row.perplexity), look)).fold(0.0, f64::max);
        let largest = Type::new(22.0);
        let em = (largest.em * (pitch - 6.0) / widest(largest)).min(largest.em);
        if em >= 15.0 {
            let look = Type::new(em);
            Values { look, room: 20.0 + em }
        } else {
            let look = Type { upright: true, ..Type::new((pitch - 2.0).clamp(11.0, 20.0)) };
            Values { look, room: 20.0 + widest(look) }
        }
    }

    /// One bar with its whisker and value, centred on `x`.
    fn draw_bar<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        plot: &Plot,
        row: &PerformanceRow,
        (x, half): (f64, f64),
        (color, values): (RGBColor, Values),
    ) -> Result<(), ChartError> {
        let height = |value: f64| plot.at(plot.x.low, value.max(plot.y.low)).1;
        canvas.rectangle((x - half, plot.bottom), (x + half, height(row.perplexity)), color)?;
        let (low, high) = interval(row);
        if high > low {
            let (low, high, cap) = (height(low), height(high), half.min(12.0) * 0.8);
            canvas.line(&[(x, low), (x, high)], INK, 2.0)?;
            canvas.line(&[(x - cap, low), (x + cap, low)], INK, 2.0)?;
            canvas.line(&[(x - cap, high), (x + cap, high)], INK, 2.0)?;
        }
        let text = value(row.perplexity);
        let (em, width) = (values.look.em, canvas.width(&text, values.look));
        let (across, tall) = if values.look.upright { (em, width) } else { (width, em) };
        let y = height(high) - 8.0 - tall / 2.0;
        let reach = (across / 2.0 + 1.0, tall / 2.0);
        canvas.rectangle((x - reach.0, y - reach.1), (x + reach.0, y + reach.1), PAPER)?;
        canvas.text(&text, (x, y), values.look)
    }
}

impl Figure for PerplexityFigure<'_> {
    fn title(&self) -> &str {
        "Perplexity by protocol and model"
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), ChartError> {
        let color = |at: usize| PALETTE[at % PALETTE.len()];
        let key = |(at, model): (usize, &&str)| Key {
            name: (*model).to_owned(),
            color: color(at),
            swatch: Swatch::Bar,
        };
        let keys: Vec<_> = self.models.iter().enumerate().map(key).collect();
        let top = heading(canvas, self.title(), &self.notes(), &keys)?;

        // The values' size depends on the plot's width, and its axis on the room they need: a first plot measures.
        let groups = Axis::linear(0.0, self.protocols.len() as f64, 1, 1.0);
        let measure = Plot::new(canvas, top, 100.0, groups.clone(), self.axis(0.1).0);
        let slot = (measure.right - measure.left) / self.protocols.len() as f64;
        let pitch = (0.8 * slot / self.models.len() as f64).min(150.0);
        let values = self.values(canvas, pitch);
        let headroom = (values.room / (measure.bottom - measure.top)).clamp(0.0, 0.6);
        let (axis, name) = self.axis(headroom);
        let plot = Plot::new(canvas, top, 100.0, groups, axis);
        plot.draw_y(canvas, name)?;

        for (group, protocol) in self.protocols.iter().enumerate() {
            let (center, _) = plot.at(group as f64 + 0.5, plot.y.low);
            let look = Type::new(24.0);
            canvas.text(&canvas.fit(protocol, look, slot - 12.0), (center, plot.bottom + 32.0), look)?;
            if let Some((_, scored)) = KNOWN.iter().find(|known| known.0 == *protocol) {
                let look = Type { color: GREY, ..Type::new(19.0) };
                canvas.text(&canvas.fit(scored, look, slot - 12.0), (center, plot.bottom + 64.0), look)?;
            }
            for row in self.rows.iter().filter(|row| row.protocol == *protocol) {
                let Some(at) = self.models.iter().position(|model| *model == row.model) else { continue };
                let x = center + (at as f64 + 0.5 - self.models.len() as f64 / 2.0) * pitch;
                self.draw_bar(canvas, &plot, row, (x, 0.46 * pitch), (color(at), values))?;
            }
        }
        plot.draw_frame(canvas)
    }
}

/// Refuses a row whose numbers have no place on an axis.
fn check(row: &PerformanceRow) -> Result<(), ChartError> {
    let error = row.standard_error.unwrap_or(0.0);
    let fields = [
        ("loss", row.loss, row.loss.is_finite(), "a finite number"),
        (
            "perplexity",
            row.perplexity,
            row.perplexity.is_finite() && row.perplexity > 0.0,
            "a finite number over 0",
        ),
        (
            "standard error",
            error,
            error >= 0.0 && interval(row).1.is_finite(),
            "a number from 0 on, with a finite interval",
        ),
    ];
    match fields.into_iter().find(|field| !field.2) {
        None => Ok(()),
        Some((field, value, _, expected)) => Err(ChartError::Measurement {
            model: row.model.clone(),
            protocol: row.protocol.clone(),
            field,
            value,
            expected,
        }),
    }
}

/// The 95 % interval of a row's perplexity, or its value twice without a standard error.
fn interval(row: &PerformanceRow) -> (f64, f64) {
    match row.standard_error {
        Some(error) => ((row.loss - WITHIN_95 * error).exp(), (row.loss + WITHIN_95 * error).exp()),
        None => (row.perplexity, row.perplexity),
    }
}

/// A perplexity as it stands over its bar.
fn value(perplexity: f64) -> String {
    number(perplexity, if perplexity < 1000.0 { 2 } else { 0 })
}

/// Each name once, in the order of its first use.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept = Vec::new();
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}
