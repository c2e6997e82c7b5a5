//! The pixels of a chart: a plotters backend that draws into memory, and the PNG it becomes.
//!
//! Plotters' own bitmap backend joins thick noisy lines with spikes and drops the side bearing of every glyph. Both
//! show in a loss curve, so strokes and text are drawn here; circles and rectangles stay plotters' own.

use std::convert::Infallible;
use std::io::Write;

use ab_glyph::{Font, FontRef, GlyphId, InvalidFont, PxScale, ScaleFont, point};
use plotters_backend::text_anchor::HPos;
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
    FontTransform,
};

/// Plotters' font size over the em, as its SVG backend has it.
pub(super) const SIZE_PER_EM: f64 = 1.24;
/// From the top anchor of a text to its baseline, in em, as plotters' SVG backend has it.
pub(super) const TOP_TO_BASELINE: f64 = 0.76;

/// The two faces that charts are set in.
pub(super) struct Fonts {
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

impl Fonts {
    /// Reads the fonts that are compiled in.
    pub(super) fn new() -> Result<Self, InvalidFont> {
        Ok(Self {
            regular: FontRef::try_from_slice(dejavu::sans::regular())?,
            bold: FontRef::try_from_slice(dejavu::sans::bold())?,
        })
    }

    /// The width of a line of text, in the unit of `em`.
    pub(super) fn width(&self, text: &str, em: f64, bold: bool) -> f64 {
        self.place(text, em, bold).1
    }

    /// The glyphs of a line with their pen positions, and the width of the line.
    fn place(&self, text: &str, em: f64, bold: bool) -> (Vec<(GlyphId, f32)>, f64) {
        let (font, scale) = self.scaled(em, bold);
        let font = font.as_scaled(scale);
        let (mut pen, mut previous) = (0.0, None);
        let mut glyphs = Vec::new();
        for character in text.chars() {
            let glyph = font.glyph_id(character);
            pen += previous.map_or(0.0, |previous| font.kern(previous, glyph));
            glyphs.push((glyph, pen));
            pen += font.h_advance(glyph);
            previous = Some(glyph);
        }
        (glyphs, f64::from(pen))
    }

    /// The face, and the scale at which its em is `em` pixels.
    fn scaled(&self, em: f64, bold: bool) -> (&FontRef<'static>, PxScale) {
        let font = if bold { &self.bold } else { &self.regular };
        let per_em = font.units_per_em().map_or(1.0, |units| font.height_unscaled() / units);
        (font, PxScale::from(em as f32 * per_em))
    }
}

/// An RGB picture that plotters draws on. It starts white.
pub(super) struct Raster<'a> {
    width: usize,
    height: usize,
    pixels: &'a mut [u8],
    fonts: &'a Fonts,
}

impl<'a> Raster<'a> {
    /// A picture over `pixels`, which must hold `width * height * 3` bytes.
    pub(super) fn new(width: usize, height: usize, pixels: &'a mut [u8], fonts: &'a Fonts) -> Self {
        debug_assert_eq!(pixels.len(), width * height * 3);
        pixels.fill(255);
        Self { width, height, pixels, fonts }
    }

    /// Lays `color` over one pixel, `coverage` in 0..=1 of it. Outside the picture nothing happens.
    fn blend(&mut self, x: i32, y: i32, color: BackendColor, coverage: f64) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x >= self.width || y >= self.height {
            return;
        }
        let alpha = (color.alpha * coverage).clamp(0.0, 1.0);
        let start = (y * self.width + x) * 3;
        let (red, green, blue) = color.rgb;
        for (held, new) in self.pixels[start..start + 3].iter_mut().zip([red, green, blue]) {
            *held = (f64::from(*held) * (1.0 - alpha) + f64::from(new) * alpha).round() as u8;
        }
    }

    /// A straight stroke with round ends: each pixel is covered by its distance to the segment.
    fn stroke(&mut self, from: BackendCoord, to: BackendCoord, width: u32, color: BackendColor) {
        let radius = f64::from(width) / 2.0;
        let reach = radius.ceil() as i32 + 1;
        let (x0, y0) = (f64::from(from.0), f64::from(from.1));
        let (dx, dy) = (f64::from(to.0) - x0, f64::from(to.1) - y0);
        let length_squared = dx * dx + dy * dy;
        let columns = (from.0.min(to.0) - reach).max(0)..=(from.0.max(to.0) + reach).min(self.width as i32);
        let rows = (from.1.min(to.1) - reach).max(0)..=(from.1.max(to.1) + reach).min(self.height as i32);
        for y in rows {
            for x in columns.clone() {
                let (px, py) = (f64::from(x) - x0, f64::from(y) - y0);
                let along = if length_squared > 0.0 { (px * dx + py * dy) / length_squared } else { 0.0 };
                let along = along.clamp(0.0, 1.0);
                let distance = (px - along * dx).hypot(py - along * dy);
                let coverage = radius + 0.5 - distance;
                if coverage > 0.0 {
                    self.blend(x, y, color, coverage.min(1.0));
                }
            }
        }
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Raster<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.width as u32, self.height as u32)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        self.blend(x, y, color, 1.0);
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let mut previous = None;
        for point in path {
            if let Some(previous) = previous {
                self.stroke(previous, point, style.stroke_width(), style.color());
            }
            previous = Some(point);
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, anchor: BackendCoord) -> Drawn {
        let em = style.size() / SIZE_PER_EM;
        let bold = matches!(style.style(), FontStyle::Bold);
        let fonts = self.fonts;
        let (glyphs, width) = fonts.place(text, em, bold);
        let (font, scale) = fonts.scaled(em, bold);
        let start = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -width / 2.0,
            HPos::Right => -width,
        };
        let baseline = (em * TOP_TO_BASELINE) as f32;
        for (glyph, pen) in glyphs {
            let placed = glyph.with_scale_and_position(scale, point(start as f32 + pen, baseline));
            let Some(outline) = font.outline_glyph(placed) else { continue };
            let (left, top) = (outline.px_bounds().min.x as i32, outline.px_bounds().min.y as i32);
            outline.draw(|x, y, coverage| {
                let (x, y) = (left + x as i32, top + y as i32);
                let (x, y) =
                    if matches!(style.transform(), FontTransform::Rotate270) { (y, -x) } else { (x, y) };
                self.blend(anchor.0 + x, anchor.1 + y, style.color(), f64::from(coverage));
            });
        }
        Ok(())
    }
}

/// Averages each square of `detail` by `detail` pixels into one. `width` counts the columns of `pixels`.
pub(super) fn shrink(pixels: &[u8], width: usize, detail: usize) -> Vec<u8> {
    let height = pixels.len() / 3 / width;
    let area = detail * detail;
    let mut small = Vec::with_capacity(pixels.len() / area);
    for y in 0..height / detail {
        for x in 0..width / detail {
            for channel in 0..3 {
                let sum: usize = (0..area)
                    .map(|at| (y * detail + at / detail) * width + x * detail + at % detail)
                    .map(|pixel| usize::from(pixels[pixel * 3 + channel]))
                    .sum();
                small.push(((sum + area / 2) / area) as u8);
            }
        }
    }
    small
}

/// Writes RGB pixels as a PNG.
pub(super) fn encode_png(
    file: &mut impl Write,
    width: u32,
    height: u32,
    pixels: &[u8],
) -> std::io::Result<()> {
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(())
}
