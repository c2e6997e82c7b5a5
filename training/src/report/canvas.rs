//! The sheet a figure is drawn on, the same for PNG and SVG.
//!
//! Figures speak in logical pixels, 1200 by 800, with fractions. Plotters counts whole pixels, so the sheet behind is
//! finer by [`DETAIL`]: the PNG is averaged down from it and the SVG keeps it as its view box.

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, TextStyle};
use plotters::{backend::DrawingBackend, backend::SVGBackend};

use super::charts::ChartError;
use super::raster::{Fonts, Raster, SIZE_PER_EM, TOP_TO_BASELINE, encode_png, shrink};

/// The width of every chart, in pixels.
pub(super) const WIDTH: f64 = 1200.0;
/// The height of a chart, in pixels, unless it has its own.
pub(super) const HEIGHT: f64 = 800.0;
/// Pixels of the fine sheet for one of the chart.
const DETAIL: u32 = 3;
/// What an SVG reader sets the text in: faces as wide as the one that was measured, or narrower.
const FAMILY: &str = "DejaVu Sans, Verdana, Arial, sans-serif";

/// Text, axes and marks.
pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Secondary text.
pub(super) const GREY: RGBColor = RGBColor(0x5c, 0x5c, 0x5c);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// The sheet.
pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// A point on the sheet: right, then down, in logical pixels.
pub(super) type Point = (f64, f64);

/// Something that can be drawn on any backend.
pub(super) trait Figure {
    /// The heading, also the SVG's accessible name.
    fn title(&self) -> &str;

    /// The height of the sheet, in pixels.
    fn height(&self) -> f64 {
        HEIGHT
    }

    /// Draws the figure on an empty sheet.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), ChartError>;
}

/// How a line of text looks. The default is centred on its point.
#[derive(Clone, Copy)]
pub(super) struct Type {
    /// The em, in logical pixels.
    pub(super) em: f64,
    /// Bold or regular.
    pub(super) bold: bool,
    /// The colour.
    pub(super) color: RGBColor,
    /// Which part of the line lies on the point.
    pub(super) align: HPos,
    /// Reads upwards.
    pub(super) upright: bool,
}

impl Type {
    /// Regular dark text, centred.
    pub(super) const fn new(em: f64) -> Self {
        Self { em, bold: false, color: INK, align: HPos::Center, upright: false }
    }
}

/// A sheet over a plotters backend.
pub(super) struct Canvas<'a, DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
    fonts: &'a Fonts,
    /// The height of the sheet, in logical pixels.
    pub(super) height: f64,
}

impl<DB: DrawingBackend> Canvas<'_, DB> {
    /// A line through `points`, `width` pixels wide.
    pub(super) fn line(&self, points: &[Point], color: RGBColor, width: f64) -> Result<(), ChartError> {
        let points: Vec<_> = points.iter().map(|&point| fine(point)).collect();
        drawn(self.area.draw(&PathElement::new(points, color.stroke_width(fine_length(width)))))
    }

    /// A filled rectangle between two corners.
    pub(super) fn rectangle(&self, from: Point, to: Point, color: RGBColor) -> Result<(), ChartError> {
        let (from, to) = (fine(from), fine(to));
        let corners = [(from.0.min(to.0), from.1.min(to.1)), (from.0.max(to.0), from.1.max(to.1))];
        drawn(self.area.draw(&Rectangle::new(corners, color.filled())))
    }

    /// A filled disc.
    pub(super) fn disc(&self, center: Point, radius: f64, color: RGBColor) -> Result<(), ChartError> {
        drawn(self.area.draw(&Circle::new(fine(center), fine_length(radius), color.filled())))
    }

    /// A line of text whose capitals are centred on `at`.
    pub(super) fn text(&self, text: &str, at: Point, look: Type) -> Result<(), ChartError> {
        // Half the height of a capital below the centre is the baseline; plotters wants the top it hangs from.
        let rise = look.em * (0.365 - TOP_TO_BASELINE);
        let (at, turn) = if look.upright {
            ((at.0 + rise, at.1), FontTransform::Rotate270)
        } else {
            ((at.0, at.1 + rise), FontTransform::None)
        };
        let weight = if look.bold { FontStyle::Bold } else { FontStyle::Normal };
        let size = look.em * f64::from(DETAIL) * SIZE_PER_EM;
        let font = FontDesc::new(FontFamily::Name(FAMILY), size, weight).transform(turn);
        let style = TextStyle::from(font).color(&look.color).pos(Pos::new(look.align, VPos::Top));
        drawn(self.area.draw_text(text, &style, fine(at)))
    }

    /// The width of a line of text, in pixels.
    pub(super) fn width(&self, text: &str, look: Type) -> f64 {
        self.fonts.width(text, look.em, look.bold)
    }

    /// The text, with its middle left out where it is wider than `limit`.
    pub(super) fn fit(&self, text: &str, look: Type, limit: f64) -> String {
        let characters: Vec<char> = text.chars().collect();
        let mut kept = characters.len();
        let mut shown = text.to_owned();
        while self.width(&shown, look) > limit && kept > 2 {
            kept -= 1;
            let tail = characters.len() - kept / 2;
            shown = characters[..kept.div_ceil(2)].iter().collect();
            shown.push('…');
            shown.extend(&characters[tail..]);
        }
        shown
    }

    /// The text as lines no wider than `limit`, broken at spaces.
    pub(super) fn wrap(&self, text: &str, look: Type, limit: f64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if self.width(&format!("{line} {word}"), look) <= limit => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

/// Draws a figure and encodes it as a PNG of [`WIDTH`] by its height.
pub(super) fn png_bytes<F: Figure>(figure: &F) -> Result<Vec<u8>, ChartError> {
    let (width, height) = (WIDTH as usize * DETAIL as usize, figure.height() as usize * DETAIL as usize);
    let fonts = Fonts::new().map_err(|error| ChartError::Draw(error.to_string()))?;
    let mut pixels = vec![0; width * height * 3];
    let area = Raster::new(width, height, &mut pixels, &fonts).into_drawing_area();
    figure.draw(&Canvas { area, fonts: &fonts, height: figure.height() })?;
    let small = shrink(&pixels, width, DETAIL as usize);
    let mut bytes = Vec::new();
    encode_png(&mut bytes, WIDTH as u32, figure.height() as u32, &small)
        .map_err(|error| ChartError::Draw(error.to_string()))?;
    Ok(bytes)
}

/// Draws a figure as an SVG document, without an XML declaration so that it can stand inside HTML.
pub(super) fn svg_text<F: Figure>(figure: &F) -> Result<String, ChartError> {
    let (width, height) = (WIDTH as u32 * DETAIL, figure.height() as u32 * DETAIL);
    let fonts = Fonts::new().map_err(|error| ChartError::Draw(error.to_string()))?;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        drawn(area.fill(&PAPER))?;
        let canvas = Canvas { area, fonts: &fonts, height: figure.height() };
        figure.draw(&canvas)?;
        drawn(canvas.area.present())?;
    }
    // Plotters sizes the document by its fine pixels; readers should see the logical ones.
    let body = text.split_once('>').map_or("", |(_, body)| body);
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\" stroke-linejoin=\"round\">{body}",
        figure.height(),
        figure.title()
    ))
}

/// A point on the fine sheet.
fn fine((x, y): Point) -> (i32, i32) {
    let detail = f64::from(DETAIL);
    ((x * detail).round() as i32, (y * detail).round() as i32)
}

/// A length on the fine sheet, at least one of its pixels.
fn fine_length(length: f64) -> u32 {
    (length * f64::from(DETAIL)).round().max(1.0) as u32
}

/// Plotters' errors carry the backend's type; charts have one for all.
fn drawn<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, ChartError> {
    result.map_err(|error| ChartError::Draw(error.to_string()))
}
