//! What the charts promise: they show the data, say what they leave out, and refuse numbers that have no place.
#![allow(clippy::unwrap_used)]

use super::*;

fn svg_of_losses(curves: &LossCurves) -> Result<String, ReportError> {
    Ok(Chart::losses(curves)?.svg)
}

fn svg_of_perplexities(rows: &[PerplexityRow]) -> Result<String, ReportError> {
    Ok(Chart::perplexities(rows)?.svg)
}

fn svg_of_steps(series: &StepSeries) -> Result<String, ReportError> {
    Ok(Chart::steps(series)?.svg)
}

fn curves(steps: u32) -> LossCurves {
    let loss = |step: u32| 3.0 + 3.5 * (-9.0 * f64::from(step) / f64::from(steps)).exp();
    let noise = |step: u32| 0.3 * f64::from(step * 7919 % 101) / 101.0;
    LossCurves {
        training: (1..=steps).map(|step| (f64::from(step), loss(step) + noise(step))).collect(),
        validation: (1..=6)
            .map(|at| (f64::from(at * steps / 6), if at == 5 { 2.9871 } else { loss(at * steps / 6) }))
            .collect(),
    }
}

fn row(model: &str, protocol: &str, perplexity: f64) -> PerplexityRow {
    PerplexityRow {
        model: model.into(),
        protocol: protocol.into(),
        loss: perplexity.ln(),
        perplexity,
        tokens: 1000,
        standard_error: Some(0.02),
        bits_per_byte: Some(1.5),
    }
}

fn rows() -> Vec<PerplexityRow> {
    vec![
        row("Base <raw>", "response", 38.0),
        row("LoRA", "response", 14.2),
        row("Base <raw>", "notebook", 115.51),
        row("LoRA", "notebook", 2.37),
    ]
}

/// The size of a PNG and how many of its pixels have the colour.
fn decoded(png: &[u8], color: [u8; 3]) -> (u32, u32, usize) {
    let picture = resvg::tiny_skia::Pixmap::decode_png(png).unwrap();
    let of_color =
        picture.pixels().iter().filter(|pixel| [pixel.red(), pixel.green(), pixel.blue()] == color);
    (picture.width(), picture.height(), of_color.count())
}

#[test]
fn the_pictures_decode_and_hold_the_data() {
    let picture = Chart::losses(&curves(60)).unwrap().png().unwrap();
    let (width, height, validation) = decoded(&picture, [0xd5, 0x5e, 0x00]);
    assert_eq!((width, height), (1200, 800));
    assert!(validation > 1000, "{validation} pixels of the validation colour");

    let picture = Chart::perplexities(&rows()).unwrap().png().unwrap();
    let (width, height, base) = decoded(&picture, [0xe6, 0x9f, 0x00]);
    let (_, _, tuned) = decoded(&picture, [0x00, 0x72, 0xb2]);
    assert_eq!((width, height), (1200, 800));
    assert!(base > tuned && tuned > 10_000, "{base} and {tuned} pixels of bars");
}

#[test]
fn a_picture_has_its_text() {
    // The title alone, and dark: without the fonts there would be none.
    let title = |chart: &Chart| {
        let picture = resvg::tiny_skia::Pixmap::decode_png(&chart.png().unwrap()).unwrap();
        let rows = picture.pixels().chunks(1200).take(64);
        rows.flatten().filter(|pixel| pixel.red() < 0x80).count()
    };
    assert!(title(&Chart::losses(&curves(60)).unwrap()) > 2000);
}

#[test]
fn a_name_that_is_no_markup_can_be_drawn() {
    let picture = Chart::perplexities(&[row("\u{0}<&\u{1b}", "\"'>", 3.0)]).unwrap().png().unwrap();
    assert_eq!(decoded(&picture, [0xe6, 0x9f, 0x00]).0, 1200);
}

#[test]
fn the_loss_svg_is_the_same_each_time_and_names_what_it_shows() {
    let svg = svg_of_losses(&curves(600)).unwrap();
    assert_eq!(svg, svg_of_losses(&curves(600)).unwrap());
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    for part in ["optimizer step", "loss (nats per token)", "training, mean of 13 points", "validation"] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(svg.contains("best 2.9871 at step 500"), "the best point and its value");
}

#[test]
fn an_outlier_is_counted_in_a_note() {
    let mut curves = curves(600);
    assert!(!svg_of_losses(&curves).unwrap().contains("outside the axis"));
    curves.training[0].1 = 60.0;
    let svg = svg_of_losses(&curves).unwrap();
    assert!(svg.contains("1 training value lies outside the axis: 60.00 at step 1."), "{svg}");
}

#[test]
fn a_measure_of_the_steps_has_its_axis_from_zero_and_its_unit() {
    let points = (1..=600).map(|step| (f64::from(step), if step == 7 { 9.0 } else { 0.5 })).collect();
    let series = StepSeries { title: "Gradient norm".into(), axis: "norm".into(), noisy: true, points };
    let svg = svg_of_steps(&series).unwrap();
    for part in ["height=\"500\"", "mean of 13 steps", ">0.0</text>", "outside the axis: 9.00 at step 7"] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    let rate = StepSeries { noisy: false, ..series.clone() };
    assert!(!svg_of_steps(&rate).unwrap().contains("outside"));
    let bad = StepSeries { points: vec![(1.0, 2.0), (2.0, f64::NAN)], ..series };
    assert!(svg_of_steps(&bad).unwrap_err().to_string().contains("step 2 is NaN"));
    assert!(svg_of_steps(&StepSeries { points: vec![], ..bad }).is_err());
}

#[test]
fn short_runs_have_a_chart() {
    let one = LossCurves { training: vec![(1.0, 6.5)], validation: Vec::new() };
    assert!(svg_of_losses(&one).unwrap().contains("<circle"));
    let validation_only = LossCurves { training: Vec::new(), validation: vec![(0.0, 0.0)] };
    assert!(svg_of_losses(&validation_only).unwrap().contains("best 0.0000 at step 0"));
}

#[test]
fn the_perplexity_svg_is_the_same_each_time_and_holds_every_value() {
    let svg = svg_of_perplexities(&rows()).unwrap();
    assert_eq!(svg, svg_of_perplexities(&rows()).unwrap());
    for part in
        ["38.00", "14.20", "115.51", "2.37", "LoRA", "Base &lt;raw&gt;", "log scale", "padding as well"]
    {
        assert!(svg.contains(part), "{part}");
    }
    assert!(svg.find(">notebook<").unwrap() < svg.find(">response<").unwrap(), "notebook leads");
    let svg = svg_of_perplexities(&rows()[..2]).unwrap();
    assert!(!svg.contains("log scale") && !svg.contains("padding as well"));
}

#[test]
fn nothing_to_draw_is_an_error() {
    assert!(matches!(Chart::losses(&LossCurves::default()), Err(ReportError::Empty { .. })));
    assert!(matches!(Chart::perplexities(&[]), Err(ReportError::Empty { .. })));
}

#[test]
fn a_picture_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent").join("chart.png");
    let error = Chart::perplexities(&rows()).unwrap().write_png(&absent).unwrap_err();
    assert!(matches!(error, ReportError::Write(_)) && error.to_string().contains("chart.png"), "{error}");
}

#[test]
fn bad_numbers_are_named() {
    let mut bad = curves(60);
    bad.training[41].1 = f64::NAN;
    let error = svg_of_losses(&bad).unwrap_err().to_string();
    assert!(error.contains("training loss at step 42 is NaN"), "{error}");
    let mut bad = curves(60);
    bad.validation[1].1 = f64::INFINITY;
    let error = svg_of_losses(&bad).unwrap_err().to_string();
    assert!(error.contains("validation loss at step 20 is inf"), "{error}");

    let mut bad = rows();
    bad[1].perplexity = 0.0;
    let error = svg_of_perplexities(&bad).unwrap_err().to_string();
    assert!(error.contains("\"LoRA\"") && error.contains("the perplexity 0;"), "{error}");
    let mut bad = rows();
    bad[2].standard_error = Some(-1.0);
    let error = svg_of_perplexities(&bad).unwrap_err().to_string();
    assert!(error.contains("the standard error -1;"), "{error}");
    let mut bad = rows();
    bad[3] = bad[1].clone();
    assert!(matches!(svg_of_perplexities(&bad), Err(ReportError::Duplicate { .. })));
}

#[test]
fn discrimination_shows_its_models_and_what_to_compare_them_with() {
    use crate::knowledge::{DiscriminationFacts, ModelShare};
    let model = |model: &str, share| ModelShare { model: model.into(), share, standard_error: Some(0.04) };
    let mut facts = DiscriminationFacts {
        others: 3,
        questions: 120,
        parameters: 6_300_000,
        chance: 0.25,
        shared_words: 0.5,
        beside_shared_words: 0.04,
        models: vec![model("Base <Model>", 0.3), model("LoRA Model", 0.625)],
        change: None,
    };
    let chart = Chart::discrimination(&facts).unwrap();
    for part in ["guessing 25.0", "shared words 50.0", "62.5", "Base &lt;Model&gt;", "among 4"] {
        assert!(chart.svg().contains(part), "{part}: {}", chart.svg());
    }
    assert!(chart.png().unwrap().starts_with(b"\x89PNG"));
    facts.models[0].share = 1.5;
    assert!(Chart::discrimination(&facts).unwrap_err().to_string().contains("1.5"));
    facts.models.clear();
    assert!(Chart::discrimination(&facts).is_err());
}

#[test]
fn trials_are_lines_as_far_as_they_went() {
    let curve = |name: &str, points: &[(f64, f64)], chosen| TrialCurve {
        name: name.into(),
        points: points.into(),
        chosen,
    };
    let curves =
        [curve("1", &[(0.25, 3.0)], false), curve("2", &[(0.25, 2.9), (0.5, 2.7), (1.0, 2.6)], true)];
    let svg = Chart::trials(&curves).unwrap().svg().to_string();
    assert!(
        svg.contains("2 trials, by number; 1 were stopped") && svg.matches("<circle").count() == 6,
        "{svg}"
    );
    // Equal ends have their names side by side.
    let equal = [curve("7", &[(0.25, 3.0)], false), curve("8", &[(0.25, 3.0)], false)];
    let svg = Chart::trials(&equal).unwrap().svg().to_string();
    let place = |name: &str| {
        let before = svg.split(&format!(">{name}</text>")).next().unwrap();
        before.rsplit("<text x=\"").next().unwrap().split('"').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(place("8") - place("7"), 30.0);
    assert!(Chart::trials(&[curve("1", &[], false)]).is_err());
    assert!(Chart::trials(&[curve("1", &[(0.5, f64::NAN)], false)]).unwrap_err().to_string().contains("NaN"));
}
