//! The picture of a chart: its SVG as a PNG.

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::Tree;

use super::typeface::options;
use crate::error::ReportError;

/// The bytes of a PNG file, as large as the SVG says.
///
/// # Errors
/// [`ReportError::Draw`] where the SVG cannot be read or there is no memory for the picture.
pub(super) fn png(svg: &str) -> Result<Vec<u8>, ReportError> {
    let tree = Tree::from_str(svg, &options()).map_err(|error| ReportError::Draw(error.to_string()))?;
    let size = tree.size().to_int_size();
    let mut picture = Pixmap::new(size.width(), size.height())
        .ok_or_else(|| ReportError::Draw("there is no memory for the picture".into()))?;
    resvg::render(&tree, Transform::identity(), &mut picture.as_mut());
    picture.encode_png().map_err(|error| ReportError::Draw(error.to_string()))
}
