//! Fine-tunes a base on records made here, and writes the adapter and the merged model.
//!
//! `cargo run --release --example fine_tune -- [BASE] [OUTPUT]`; without a base, the embedded one.

use gptneo_lora::{Base, FineTune, Record, TrainingConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gptneo_lora::use_whole_machine();
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or(Base::embedded(), Base::folder);
    let output = arguments.next();

    let records = vec![
        Record::new("Which organ pumps blood?", "The heart pumps blood through the body."),
        Record::new("What do the lungs take in?", "The lungs take in oxygen."),
        Record::new("What does insulin lower?", "Insulin lowers the blood sugar."),
        Record::new("Which bone is the longest?", "The thigh bone is the longest bone."),
        Record::new("What do the kidneys filter?", "The kidneys filter the blood."),
    ];
    let config = TrainingConfig { max_steps: Some(20), learning_rate: 5e-3, ..Default::default() };
    let tuned = FineTune::of(base).training(config).on(records)?;
    let merged = tuned.merge()?;
    println!("{}", merged.answer("Which organ pumps blood?")?);

    if let Some(output) = output {
        tuned.save_adapter(format!("{output}/adapter"))?;
        merged.save(format!("{output}/merged"))?;
    }
    Ok(())
}
