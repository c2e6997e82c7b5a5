//! What an exam's numbers are made of. That the log-likelihoods are right is in `reference_tests`.

#![allow(clippy::unwrap_used)]
use super::*;

fn question(characters: &[usize], answer: usize) -> EncodedChoices {
    EncodedChoices {
        with_question: Vec::new(),
        without_question: Vec::new(),
        characters: characters.to_vec(),
        answer,
    }
}

#[test]
fn the_numbers_are_shares_of_questions() {
    let questions =
        [question(&[4, 8], 1), question(&[4, 4], 0), question(&[4, 4, 4, 4], 0), question(&[9, 3], 0)];
    let with = vec![vec![-4.0, -6.0], vec![-1.0, -2.0], vec![-2.0, -2.0, -3.0, -3.0], vec![-9.0, -6.0]];
    let without = [vec![-9.0, -1.0], vec![-2.0, -1.0], vec![-2.0, -1.0, -3.0, -3.0], vec![-2.0, -3.0]];
    let found = of_loglikelihoods(&questions, with, &without).unwrap();
    // Right: the second, and the third, where the first of equals counts. For each character: -1 against -0.75 makes
    // the first right, -1 against -2 keeps the fourth right.
    assert_eq!((found.accuracy, found.accuracy_normalised, found.choices_only), (0.5, 1.0, 0.5));
    assert_eq!(found.standard_error, Some((0.25f64 / 3.0).sqrt()));
    assert_eq!((found.chance, found.majority, found.count), ((3.0 * 0.5 + 0.25) / 4.0, 0.75, 4));
    assert_eq!(found.items.iter().map(ChoiceItem::right).collect::<Vec<_>>(), [false, true, true, false]);
    assert!(of_loglikelihoods(&[], Vec::new(), &[]).is_err());
}
