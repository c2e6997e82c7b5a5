//! Training with DoRA against PEFT: `curve_dora.json` and `adapter_dora_trained`, made as the others are.

use super::*;

#[test]
fn the_curve_adapter_and_lengths_equal_peft() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (mut model, lora) = load_adapter(base(), &fixture("adapter_dora"), &Default::default()).unwrap();
    set_dropout(&mut model, 0.0);
    let tuning = Tuning::Lora(LoraConfig { dropout: 0.0, ..lora });
    let training = examples(Supervise::Text, 64);
    let precision = Precision::F32;
    let config = recipe(3, 10);
    let setup = Setup { model, tuning, training, validation: vec![], config, precision, devices: 1 };
    let result = setup.run(folder.path(), false, None).unwrap();
    assert_curve(folder.path(), "curve_dora.json");
    let base = load_model::<Flex>(&fixture("window"), &Default::default()).unwrap();
    let (peft, _) = load_adapter(base, &fixture("adapter_dora_trained"), &Default::default()).unwrap();
    for ((name, ours), (_, theirs)) in adapter_tensors(&result.model).iter().zip(adapter_tensors(&peft)) {
        let difference = (ours.val() - theirs.val()).abs().max().into_scalar();
        assert!(difference < 1e-4, "{name}: {difference}");
    }
    let lengths = |model: &GptNeo<Flex>| -> Vec<f32> {
        let found = model.linears().filter_map(|(_, _, linear)| linear.lora.as_ref()?.magnitude.as_ref());
        found.flat_map(|lengths| lengths.val().into_data().to_vec::<f32>().unwrap()).collect()
    };
    let (ours, theirs) = (lengths(&result.model), lengths(&peft));
    assert!(ours.len() > 100 && ours.len() == theirs.len());
    assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| (ours - theirs).abs() < 1e-4));
}
