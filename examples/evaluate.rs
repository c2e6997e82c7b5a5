//! Measures loss and perplexity of a model, with or without an adapter, on records made here.
//!
//! `cargo run --release --example evaluate -- [BASE] [ADAPTER]`; without a base, the embedded one.

use gptneo_lora::{Base, Record};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gptneo_lora::use_whole_machine();
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or(Base::embedded(), Base::folder);
    let mut model = base.load()?;
    if let Some(adapter) = arguments.next() {
        model = model.with_adapter(adapter)?;
    }

    let records = [
        Record::new("Which organ pumps blood?", "The heart pumps blood through the body."),
        Record::new("What do the lungs take in?", "The lungs take in oxygen."),
    ];
    let found = model.evaluate(&records)?;
    for (protocol, score) in [("text", found.text), ("response", found.response)] {
        println!("{protocol:<10} loss {:.4}  perplexity {:.2}", score.loss, score.perplexity);
    }
    Ok(())
}
