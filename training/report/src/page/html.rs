//! The few pieces of markup that every section uses.

use crate::chart::Chart;
use crate::number::grouped;

/// A figure as it is shown, with all its digits beside it.
pub(super) fn figure(value: f64, decimals: usize) -> String {
    format!("<data value=\"{value}\">{value:.decimals$}</data>")
}

/// A whole number as a figure.
pub(super) fn whole(value: u64) -> String {
    format!("<data value=\"{value}\">{}</data>", grouped(value))
}

/// A share from 0 to 1 as a percentage.
pub(super) fn share(value: f64) -> String {
    format!("<data value=\"{value}\">{:.1}</data> %", 100.0 * value)
}

/// What stands where nothing was measured.
pub(super) fn absent() -> String {
    "–".to_string()
}

/// A chart in a box that scrolls where the page is narrow.
pub(super) fn chart(chart: &Chart) -> String {
    format!("<figure class=\"wide chart\">{}</figure>\n", chart.svg())
}

/// A table with a head, in a box that scrolls where the page is narrow. Rows are whole `<tr>` elements.
pub(super) fn table(id: &str, heads: &[&str], rows: &[String]) -> String {
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    format!(
        "<div class=\"wide\"><table id=\"{id}\">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{}</tbody>\n</table></div>\n",
        rows.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_keeps_its_digits() {
        assert_eq!(figure(0.1 + 0.2, 3), "<data value=\"0.30000000000000004\">0.300</data>");
        assert_eq!(whole(1_234_567), "<data value=\"1234567\">1,234,567</data>");
        assert_eq!(share(0.25), "<data value=\"0.25\">25.0</data> %");
    }
}
