//! The colours of the charts, as SVG writes them. The page's style sheet maps them for dark screens.

/// A colour, such as `#222222`.
pub(super) type Color = &'static str;

/// Text, axes and marks.
pub(super) const INK: Color = "#222222";
/// Secondary text.
pub(super) const GREY: Color = "#5c5c5c";
/// Grid lines.
pub(super) const GRID: Color = "#e4e4e4";
/// The sheet.
pub(super) const PAPER: Color = "#ffffff";
/// Single values of the training.
pub(super) const RAW: Color = "#b5d9f0";
/// What they come to.
pub(super) const MEAN: Color = "#0072b2";
/// The validation.
pub(super) const VALIDATION: Color = "#d55e00";
/// Colours for any number of models: the Okabe-Ito palette, the most distinct neighbours first.
pub(super) const PALETTE: [Color; 8] =
    ["#e69f00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#333333", "#f0e442"];
