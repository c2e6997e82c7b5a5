//! Answers a question, the text as it comes.
//!
//! `cargo run --release --example generate -- [BASE] [QUESTION]`; without a base, the embedded one.

use std::io::Write;

use gptneo_lora::Base;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gptneo_lora::use_whole_machine();
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or(Base::embedded(), Base::folder);
    let question = arguments.next().unwrap_or("What causes asthma?".to_string());

    base.load()?.stream(&question, |piece| {
        print!("{piece}");
        // A terminal that is gone is no reason to stop.
        let _ = std::io::stdout().flush();
    })?;
    println!();
    Ok(())
}
