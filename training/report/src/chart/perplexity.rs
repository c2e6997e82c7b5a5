//! The perplexity chart: what each model scores under each protocol, side by side.

use super::axis::Axis;
use super::color::{Color, GREY, INK, PALETTE, PAPER};
use super::heading::{Key, Swatch, draw_heading};
use super::plot::Plot;
use super::sheet::{HEIGHT, Sheet};
use super::typeface::TextStyle;
use crate::error::ReportError;
use crate::number::number;
use crate::perplexities::{PROTOCOLS, PerplexityRow};

/// Beyond this ratio of largest to smallest, short bars could not be read on a linear axis.
const LINEAR_RATIO: f64 = 20.0;
/// A normal variable lies within so many standard errors 95 % of the time.
const WITHIN_95: f64 = 1.96;
/// Pixels under the plot, for the protocols.
const BELOW: f64 = 100.0;

/// Draws the chart.
///
/// # Errors
/// [`ReportError::Empty`], [`ReportError::Measurement`] or [`ReportError::Duplicate`].
pub(super) fn draw(rows: &[PerplexityRow]) -> Result<Sheet, ReportError> {
    let figure = Figure::new(rows)?;
    let mut sheet = Sheet::new("Perplexity by protocol and model", HEIGHT);
    figure.draw(&mut sheet);
    Ok(sheet)
}

/// Checked rows, grouped.
struct Figure<'a> {
    rows: &'a [PerplexityRow],
    protocols: Vec<&'a str>,
    models: Vec<&'a str>,
}

/// How the values over the bars are set.
#[derive(Clone, Copy)]
struct Values {
    style: TextStyle,
    /// Pixels they need over a bar.
    room: f64,
}

/// Where a bar stands, and how it looks.
#[derive(Clone, Copy)]
struct Bar {
    center: f64,
    half_width: f64,
    color: Color,
    values: Values,
}

impl<'a> Figure<'a> {
    fn new(rows: &'a [PerplexityRow]) -> Result<Self, ReportError> {
        if rows.is_empty() {
            return Err(ReportError::Empty { chart: "perplexity chart".into(), expected: "measurement" });
        }
        for (at, row) in rows.iter().enumerate() {
            check(row)?;
            if rows[..at].iter().any(|other| other.model == row.model && other.protocol == row.protocol) {
                let (model, protocol) = (row.model.clone(), row.protocol.clone());
                return Err(ReportError::Duplicate { model, protocol });
            }
        }
        let mut protocols = distinct(rows.iter().map(|row| row.protocol.as_str()));
        protocols.sort_by_key(|protocol| {
            PROTOCOLS.iter().position(|known| known.0 == *protocol).unwrap_or(PROTOCOLS.len())
        });
        Ok(Self { rows, protocols, models: distinct(rows.iter().map(|row| row.model.as_str())) })
    }

    fn note(&self) -> String {
        let mut note = String::from("Lower is better.");
        if self.rows.iter().any(|row| row.standard_error.is_some()) {
            note += " Whiskers span the 95\u{a0}% interval.";
        }
        if self.protocols.contains(&"notebook") {
            note += " The notebook protocol scores padding as well.";
        }
        note
    }

    fn keys(&self) -> Vec<Key> {
        let models = self.models.iter().enumerate();
        models
            .map(|(at, model)| Key {
                name: (*model).to_owned(),
                color: PALETTE[at % PALETTE.len()],
                swatch: Swatch::Bar,
            })
            .collect()
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
    fn values(&self, pitch: f64) -> Values {
        let widest = |style: TextStyle| {
            self.rows.iter().map(|row| style.width(&value(row.perplexity))).fold(0.0, f64::max)
        };
        let largest = TextStyle::new(22.0);
        let size = (largest.size * (pitch - 6.0) / widest(largest)).min(largest.size);
        if size >= 15.0 {
            Values { style: TextStyle::new(size), room: 20.0 + size }
        } else {
            let style = TextStyle { upright: true, ..TextStyle::new((pitch - 2.0).clamp(11.0, 20.0)) };
            Values { style, room: 20.0 + widest(style) }
        }
    }

    fn draw(&self, sheet: &mut Sheet) {
        let top = draw_heading(sheet, &[self.note()], &self.keys());

        // The values' size depends on the plot's width, and its axis on the room they need: a first plot measures.
        let groups = Axis::linear(0.0, self.protocols.len() as f64, 1, 1.0);
        let measure = Plot::new(sheet, top, BELOW, groups.clone(), self.axis(0.1).0);
        let slot = (measure.right - measure.left) / self.protocols.len() as f64;
        let pitch = (0.8 * slot / self.models.len() as f64).min(150.0);
        let values = self.values(pitch);
        let headroom = (values.room / (measure.bottom - measure.top)).clamp(0.0, 0.6);
        let (axis, name) = self.axis(headroom);
        let plot = Plot::new(sheet, top, BELOW, groups, axis);
        plot.draw_y(sheet, name);

        for (group, protocol) in self.protocols.iter().enumerate() {
            let (center, _) = plot.at(group as f64 + 0.5, plot.y.low);
            draw_protocol(sheet, protocol, (center, plot.bottom), slot - 12.0);
            for row in self.rows.iter().filter(|row| row.protocol == *protocol) {
                let Some(at) = self.models.iter().position(|model| *model == row.model) else { continue };
                let bar = Bar {
                    center: center + (at as f64 + 0.5 - self.models.len() as f64 / 2.0) * pitch,
                    half_width: 0.46 * pitch,
                    color: PALETTE[at % PALETTE.len()],
                    values,
                };
                draw_bar(sheet, &plot, row, bar);
            }
        }
        plot.draw_frame(sheet);
    }
}

/// The name of a group of bars under its middle, and what the protocol scores.
fn draw_protocol(sheet: &mut Sheet, protocol: &str, (center, bottom): (f64, f64), limit: f64) {
    let style = TextStyle::new(24.0);
    sheet.text(&style.fit(protocol, limit), (center, bottom + 32.0), style);
    if let Some((_, scored)) = PROTOCOLS.iter().find(|known| known.0 == protocol) {
        let style = TextStyle { color: GREY, ..TextStyle::new(19.0) };
        sheet.text(&style.fit(scored, limit), (center, bottom + 64.0), style);
    }
}

/// One bar with its whisker and value.
fn draw_bar(sheet: &mut Sheet, plot: &Plot, row: &PerplexityRow, bar: Bar) {
    let Bar { center: x, half_width: half, color, values } = bar;
    let height = |value: f64| plot.at(plot.x.low, value.max(plot.y.low)).1;
    sheet.rectangle((x - half, plot.bottom), (x + half, height(row.perplexity)), color);
    let (low, high) = interval(row);
    if high > low {
        let (low, high, cap) = (height(low), height(high), half.min(12.0) * 0.8);
        sheet.line(&[(x, low), (x, high)], INK, 2.0);
        sheet.line(&[(x - cap, low), (x + cap, low)], INK, 2.0);
        sheet.line(&[(x - cap, high), (x + cap, high)], INK, 2.0);
    }
    let text = value(row.perplexity);
    let (size, width) = (values.style.size, values.style.width(&text));
    let (across, tall) = if values.style.upright { (size, width) } else { (width, size) };
    let y = height(high) - 8.0 - tall / 2.0;
    let reach = (across / 2.0 + 1.0, tall / 2.0);
    // No grid line runs through a value.
    sheet.rectangle((x - reach.0, y - reach.1), (x + reach.0, y + reach.1), PAPER);
    sheet.text(&text, (x, y), values.style);
}

/// Refuses a row whose numbers have no place on an axis.
fn check(row: &PerplexityRow) -> Result<(), ReportError> {
    let error = row.standard_error.unwrap_or(0.0);
    let has_perplexity = row.perplexity.is_finite() && row.perplexity > 0.0;
    let has_interval = error >= 0.0 && interval(row).1.is_finite();
    let fields = [
        ("loss", row.loss, row.loss.is_finite(), "a finite number"),
        ("perplexity", row.perplexity, has_perplexity, "a finite number over 0"),
        ("standard error", error, has_interval, "a number from 0 on, with a finite interval"),
    ];
    match fields.into_iter().find(|(_, _, good, _)| !good) {
        None => Ok(()),
        Some((field, value, _, expected)) => Err(ReportError::Measurement {
            model: row.model.clone(),
            protocol: row.protocol.clone(),
            field,
            value,
            expected,
        }),
    }
}

/// The 95 % interval of a row's perplexity, or its value twice without a standard error.
fn interval(row: &PerplexityRow) -> (f64, f64) {
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
