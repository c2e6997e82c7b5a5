//! `bench products`: the pace of the processor's matrix products.

use std::fmt::Write;

use anyhow::Result;
use gptneo_lora::run::bench::{BenchProducts, ProductRates, time_products};
use gptneo_model::GptNeoConfig;

use crate::cli::BenchProductsArgs;
use crate::terminal::output;

/// The most rows of products that the weight's way from memory binds: their share of the peak says little.
const FEW: usize = 8;

pub(super) fn run(args: &BenchProductsArgs) -> Result<()> {
    let widths = match &args.config {
        Some(file) => BenchProducts::widths_of(&GptNeoConfig::from_file(file)?),
        None => BenchProducts::WIDTHS_OF_125M,
    };
    let what = BenchProducts { widths, rows: args.rows.clone() };
    let found = time_products(&what)?;
    if args.json {
        return output::json(&found);
    }
    output::line(render(&found).trim_end())
}

/// A line a product; of the few rows how fast the weight was read, of the others what part of the peak they reach.
fn render(ProductRates { peak, registers, threads, products }: &ProductRates) -> String {
    let mut text = format!(
        "peak {peak:.0} GFLOP/s: fused multiply-adds in registers of {registers} bits, {threads} threads\n\n\
         {:<24}{:>8}{:>12}{:>10}{:>14}\n",
        "rows x terms x columns", "weights", "GFLOP/s", "of peak", "weight, GB/s"
    );
    for product in products {
        let size = format!("{} x {} x {}", product.rows, product.terms, product.columns);
        let (share, bandwidth) = match product.rows <= FEW {
            true => ("-".into(), format!("{:.1}", product.weight_bandwidth)),
            false => (format!("{:.0} %", 100.0 * product.share_of_peak), "-".into()),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{size:<24}{:>8}{:>12.0}{share:>10}{bandwidth:>14}",
            product.weights.name(),
            product.rate
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use gptneo_lora::run::bench::TimedProduct;
    use gptneo_model::WeightFormat;

    use super::*;

    #[test]
    fn few_rows_tell_bandwidth_and_more_their_share_of_the_peak() {
        let product = |rows, rate| TimedProduct {
            rows,
            terms: 768,
            columns: 50257,
            weights: WeightFormat::Int8,
            rate,
            share_of_peak: rate / 200.0,
            weight_bandwidth: 21.04,
        };
        let products = vec![product(8, 40.0), product(512, 171.0)];
        let text = render(&ProductRates { peak: 200.0, registers: 256, threads: 2, products });
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[3][5..], ["int8", "40", "-", "21.0"], "{text}");
        assert_eq!(lines[4][5..], ["int8", "171", "86", "%", "-"], "{text}");
    }
}
