//! Axes and headings: where a value lies, which values get a tick, and how a chart is framed.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, GREY, GRID, INK, Point, Type, WIDTH};
use super::charts::ChartError;

const MARGIN: f64 = 36.0;
const TITLE: Type = Type { bold: true, align: HPos::Left, ..Type::new(32.0) };
const NOTE: Type = Type { color: GREY, align: HPos::Left, ..Type::new(20.0) };
const KEY: Type = Type { align: HPos::Left, ..Type::new(22.0) };
const TICK: Type = Type::new(22.0);
const NAME: Type = Type::new(24.0);

/// One direction of a plot.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// The value at the start.
    pub(super) low: f64,
    /// The value at the end.
    pub(super) high: f64,
    logarithmic: bool,
    /// The values that get a grid line and a label.
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// Evenly spaced values, about `count` ticks at 1, 2 or 5 times a power of ten, no closer than `closest`.
    pub(super) fn linear(low: f64, high: f64, count: usize, closest: f64) -> Self {
        let rough = (high - low) / count.max(1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
        let step = step.unwrap_or(rough).max(closest);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        Self { low, high, logarithmic: false, ticks: (first..=last).map(|at| at as f64 * step).collect() }
    }

    /// Logarithmically spaced values: ticks at 1, 2 and 5 times the powers of ten, or at the powers alone where those
    /// are enough. Both ends must be positive.
    pub(super) fn logarithmic(low: f64, high: f64) -> Self {
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let factors: &[f64] = if high / low > 1e4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let stride = (decades.clone().count() / 8).max(1);
        let ticks = decades
            .step_by(stride)
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)))
            .filter(|tick| (low * (1.0 - 1e-9)..=high).contains(tick));
        Self { low, high, logarithmic: true, ticks: ticks.collect() }
    }

    /// Where a value lies: 0 at the start, 1 at the end.
    pub(super) fn share(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// The ticks' labels, with as many decimals as tell them apart.
    pub(super) fn labels(&self) -> Vec<String> {
        let gap = self.ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let gap = if gap.is_finite() { gap } else { self.ticks.first().copied().unwrap_or(1.0).abs() };
        let decimals = if gap > 0.0 { (-gap.log10() - 1e-9).ceil().clamp(0.0, 12.0) as usize } else { 0 };
        self.ticks
            .iter()
            .map(|tick| {
                // A log axis spans sizes, so each label has the decimals of its own.
                let own = (-tick.abs().max(1e-12).log10() - 1e-9).ceil().clamp(0.0, 12.0) as usize;
                number(*tick, if self.logarithmic { own } else { decimals })
            })
            .collect()
    }
}

/// A number with `decimals`, its thousands set apart by commas; from ten million on in powers of ten.
pub(super) fn number(value: f64, decimals: usize) -> String {
    if value.abs() >= 1e7 {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let plain = format!("{value:.decimals$}");
    let (sign, plain) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("−", rest));
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// Says how many points the vertical axis leaves out, and the farthest of them.
pub(super) fn outside_note(points: &[(f64, f64)], y: &Axis) -> Option<String> {
    let outside: Vec<_> = points.iter().filter(|point| !(y.low..=y.high).contains(&point.1)).collect();
    let far = |point: &(f64, f64)| (point.1 - (y.low + y.high) / 2.0).abs();
    let farthest = outside.iter().max_by(|a, b| far(a).total_cmp(&far(b)))?;
    let (count, step, value) = (outside.len(), number(farthest.0, 0), number(farthest.1, 2));
    let values =
        if count == 1 { "1 training value lies".into() } else { format!("{count} training values lie") };
    let farthest = if count == 1 { "" } else { "the farthest " };
    Some(format!("{values} outside the axis: {farthest}{value} at step {step}."))
}

/// What a legend shows beside a name.
#[derive(Clone, Copy)]
pub(super) enum Swatch {
    /// A line of this width.
    Line(f64),
    /// A line with a disc on it.
    Points,
    /// A filled square.
    Bar,
}

/// One entry of a legend.
pub(super) struct Key {
    /// What is shown.
    pub(super) name: String,
    /// In which colour.
    pub(super) color: RGBColor,
    /// And how.
    pub(super) swatch: Swatch,
}

/// Draws the title, the notes under it and the legend, from the top. Returns where the plot may begin.
pub(super) fn heading<DB: DrawingBackend>(
    canvas: &Canvas<'_, DB>,
    title: &str,
    notes: &[String],
    keys: &[Key],
) -> Result<f64, ChartError> {
    let mut y = 44.0;
    canvas.text(title, (MARGIN, y), TITLE)?;
    y += 42.0;
    for note in notes {
        for line in canvas.wrap(note, NOTE, WIDTH - 2.0 * MARGIN) {
            canvas.text(&line, (MARGIN, y), NOTE)?;
            y += 30.0;
        }
    }
    y += 8.0;
    let mut x = MARGIN;
    for key in keys {
        let swatch = if matches!(key.swatch, Swatch::Bar) { 34.0 } else { 44.0 };
        let name = canvas.fit(&key.name, KEY, WIDTH - 2.0 * MARGIN - swatch);
        let width = swatch + canvas.width(&name, KEY);
        if x > MARGIN && x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + 32.0);
        }
        match key.swatch {
            Swatch::Line(width) => canvas.line(&[(x, y), (x + 32.0, y)], key.color, width)?,
            Swatch::Points => {
                canvas.line(&[(x, y), (x + 32.0, y)], key.color, 3.0)?;
                canvas.disc((x + 16.0, y), 7.0, key.color)?;
            }
            Swatch::Bar => canvas.rectangle((x, y - 11.0), (x + 22.0, y + 11.0), key.color)?,
        }
        canvas.text(&name, (x + swatch, y), KEY)?;
        x += width + 36.0;
    }
    Ok(y + if keys.is_empty() { 0.0 } else { 34.0 })
}

/// A framed plot: two axes over a rectangle of the sheet.
pub(super) struct Plot {
    /// The horizontal axis.
    pub(super) x: Axis,
    /// The vertical axis.
    pub(super) y: Axis,
    /// The left edge, in pixels.
    pub(super) left: f64,
    /// The right edge.
    pub(super) right: f64,
    /// The upper edge.
    pub(super) top: f64,
    /// The lower edge.
    pub(super) bottom: f64,
}

impl Plot {
    /// A plot below `top` with room for the labels of `y` on its left and `below` pixels under it.
    pub(super) fn new<DB: DrawingBackend>(
        canvas: &Canvas<'_, DB>,
        top: f64,
        below: f64,
        x: Axis,
        y: Axis,
    ) -> Self {
        let widest = y.labels().iter().map(|label| canvas.width(label, TICK)).fold(0.0, f64::max);
        let left = MARGIN + NAME.em + 18.0 + widest + 12.0;
        Self { x, y, left, right: WIDTH - MARGIN, top, bottom: canvas.height - below }
    }

    /// Where a pair of values lies on the sheet.
    pub(super) fn at(&self, x: f64, y: f64) -> Point {
        (
            self.left + self.x.share(x) * (self.right - self.left),
            self.bottom - self.y.share(y) * (self.bottom - self.top),
        )
    }

    /// The grid and labels of the vertical axis, and its name.
    pub(super) fn draw_y<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        name: &str,
    ) -> Result<(), ChartError> {
        for (tick, label) in self.y.ticks.iter().zip(self.y.labels()) {
            let (_, y) = self.at(self.x.low, *tick);
            canvas.line(&[(self.left, y), (self.right, y)], GRID, 1.0)?;
            canvas.text(&label, (self.left - 12.0, y), Type { align: HPos::Right, ..TICK })?;
        }
        let middle = (self.top + self.bottom) / 2.0;
        canvas.text(name, (MARGIN + NAME.em / 2.0 - 6.0, middle), Type { upright: true, ..NAME })
    }

    /// The ticks and labels of the horizontal axis, and its name.
    pub(super) fn draw_x<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        name: &str,
    ) -> Result<(), ChartError> {
        for (tick, label) in self.x.ticks.iter().zip(self.x.labels()) {
            let (x, _) = self.at(*tick, self.y.low);
            canvas.line(&[(x, self.bottom), (x, self.bottom + 8.0)], INK, 1.5)?;
            // A label at the end of the axis must not leave the sheet.
            let x = x.min(WIDTH - 8.0 - canvas.width(&label, TICK) / 2.0);
            canvas.text(&label, (x, self.bottom + 26.0), TICK)?;
        }
        canvas.text(name, ((self.left + self.right) / 2.0, canvas.height - 30.0), NAME)
    }

    /// The two lines that the values stand against. Drawn last, over what touches them.
    pub(super) fn draw_frame<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), ChartError> {
        let corner = (self.left, self.bottom);
        canvas.line(&[(self.left, self.top), corner, (self.right, self.bottom)], INK, 1.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            Axis::linear(0.0, 11_000.0, 6, 1.0).labels(),
            ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]
        );
        assert_eq!(Axis::linear(2.87, 4.12, 6, 0.0).labels(), ["3.0", "3.5", "4.0"]);
        assert_eq!(Axis::linear(0.0, 2.0, 8, 1.0).labels(), ["0", "1", "2"]);
        assert_eq!(Axis::linear(-0.1, 0.1, 2, 0.0).labels(), ["−0.1", "0.0", "0.1"]);
    }

    #[test]
    fn log_ticks_say_one_two_five() {
        let axis = Axis::logarithmic(1.0, 150.0);
        assert_eq!(axis.labels(), ["1", "2", "5", "10", "20", "50", "100"]);
        assert!((axis.share(12.247_448_713_915_89) - 0.5).abs() < 1e-12, "the middle is the geometric mean");
        assert_eq!(
            Axis::logarithmic(1.0, 1e6).labels(),
            ["1", "10", "100", "1,000", "10,000", "100,000", "1,000,000"]
        );
        assert!(Axis::logarithmic(1.0, 1e30).ticks.len() <= 12);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1_234_567.891, 2), "1,234,567.89");
        assert_eq!(number(-999.0, 0), "−999");
        assert_eq!(number(2.5e8, 2), "2.5e8");
    }
}
