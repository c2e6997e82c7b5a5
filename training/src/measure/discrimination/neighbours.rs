//! Which questions are nearest to which in words.
//!
//! A question is the set of its words. Two are as near as the words they share weigh, `ln(N / n)` for a word in n of N
//! questions, against all their words (the cosine of binary tf-idf vectors), so that "what" and "is" count for little.

use std::collections::{HashMap, HashSet};

use gptneo_datasets::{Record, normalise_question};

/// The words of records' questions and answers.
pub(super) struct Words {
    questions: Vec<String>,
    answers: Vec<String>,
    /// Each question's words by number.
    of_question: Vec<Vec<usize>>,
    /// Each answer's words that some question has.
    of_answer: Vec<HashSet<usize>>,
    /// The questions that hold a word.
    holders: Vec<Vec<usize>>,
    weights: Vec<f64>,
    /// The length of each question's vector.
    norms: Vec<f64>,
    /// The answers, each once.
    distinct_answers: HashSet<String>,
}

impl Words {
    pub(super) fn of(records: &[&Record]) -> Self {
        let questions: Vec<String> = records.iter().map(|record| normalise_question(&record.input)).collect();
        let answers: Vec<String> = records.iter().map(|record| normalise_question(&record.output)).collect();
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut holders: Vec<Vec<usize>> = Vec::new();
        let mut of_question = Vec::with_capacity(questions.len());
        for (index, question) in questions.iter().enumerate() {
            let mut words: Vec<usize> = Vec::new();
            for word in question.split(' ') {
                let number = *numbers.entry(word).or_insert(holders.len());
                if number == holders.len() {
                    holders.push(Vec::new());
                }
                if !words.contains(&number) {
                    holders[number].push(index);
                    words.push(number);
                }
            }
            of_question.push(words);
        }
        let of_answer = answers
            .iter()
            .map(|answer| answer.split(' ').filter_map(|word| numbers.get(word).copied()).collect());
        let of_answer = of_answer.collect();
        let count = questions.len() as f64;
        let weights: Vec<f64> = holders.iter().map(|held| (count / held.len() as f64).ln()).collect();
        let norm = |words: &Vec<usize>| words.iter().map(|&word| weights[word].powi(2)).sum::<f64>().sqrt();
        let norms = of_question.iter().map(norm).collect();
        let distinct_answers = answers.iter().cloned().collect();
        Self { questions, answers, of_question, of_answer, holders, weights, norms, distinct_answers }
    }

    /// The `count` records nearest to record `index`, nearest first, with other questions and all answers different;
    /// nothing where there are not so many. Of equally near ones, those that follow it soonest in the file count first.
    pub(super) fn nearest(&self, index: usize, count: usize) -> Option<Vec<usize>> {
        let records = self.questions.len();
        let mut shared: HashMap<usize, f64> = HashMap::new();
        for &word in &self.of_question[index] {
            for &holder in &self.holders[word] {
                *shared.entry(holder).or_default() += self.weights[word].powi(2);
            }
        }
        let near =
            |(record, weight): (usize, f64)| (weight / self.norms[record].max(f64::MIN_POSITIVE), record);
        let mut near: Vec<(f64, usize)> =
            shared.into_iter().filter(|(_, weight)| *weight > 0.0).map(near).collect();
        let behind = |record: usize| (record + records - index) % records;
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(behind(a.1).cmp(&behind(b.1))));
        // Where no more share a word, the file's order goes on.
        let rest = (1..records).map(|step| (index + step) % records);
        let mut taken = Vec::with_capacity(count.min(records));
        for record in near.into_iter().map(|(_, record)| record).chain(rest) {
            if taken.len() == count {
                break;
            }
            let differs = |other: usize| self.answers[record] != self.answers[other] && record != other;
            if self.questions[record] != self.questions[index]
                && differs(index)
                && taken.iter().all(|&t| differs(t))
            {
                taken.push(record);
            }
        }
        (taken.len() == count).then_some(taken)
    }

    /// How many different answers to other questions there are for each of some records, at least.
    pub(super) fn others_of_all(&self, records: &[usize]) -> usize {
        records.iter().map(|&index| self.distinct_others(index)).min().unwrap_or(0)
    }

    /// How many different answers to other questions there are for record `index`.
    fn distinct_others(&self, index: usize) -> usize {
        let same = |record: &usize| self.questions[*record] == self.questions[index];
        let own: HashSet<&String> =
            (0..self.questions.len()).filter(same).map(|r| &self.answers[r]).collect();
        let elsewhere = |answer: &&String| {
            own.contains(answer)
                && **answer != self.answers[index]
                && (0..self.questions.len()).any(|r| !same(&r) && &&self.answers[r] == answer)
        };
        let both = own.iter().filter(|answer| elsewhere(answer)).count();
        self.distinct_answers.len() - own.len() + both
    }

    /// How surely counting shared words finds the first of `candidates` as the answer to question `index`: 1 where it
    /// shares the most, a part where it ties, 0 elsewhere. Words weigh as above.
    pub(super) fn found_by_shared_words(&self, index: usize, candidates: &[usize]) -> f64 {
        let weight = |&answer: &usize| -> f64 {
            let shared = self.of_question[index].iter().filter(|word| self.of_answer[answer].contains(word));
            shared.map(|&word| self.weights[word]).sum()
        };
        let weights: Vec<f64> = candidates.iter().map(weight).collect();
        let most = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let ties = weights.iter().filter(|weight| **weight == most).count();
        match weights.first() {
            Some(first) if *first == most => 1.0 / ties as f64,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pairs: &[(&str, &str)]) -> Words {
        let records: Vec<Record> =
            pairs.iter().map(|(question, answer)| Record::new(*question, *answer)).collect();
        Words::of(&records.iter().collect::<Vec<_>>())
    }

    #[test]
    fn rare_words_make_neighbours_and_equals_do_not_count() {
        let found = words(&[
            ("What is asthma?", "Narrow airways."),
            ("What is gout?", "Crystals in joints."),
            ("Which drugs relieve asthma?", "Inhaled ones."),
            ("what is ASTHMA", "A disease of the airways."),
            ("What worsens asthma at night?", "narrow airways"),
            ("Why is the sky blue?", "It scatters light."),
            ("What is croup?", "A barking cough."),
            ("What is mumps?", "Swollen glands."),
            ("What is lupus?", "Inflamed skin."),
        ]);
        // The same question and the same answer are passed over; what shares "asthma" comes before what shares "is".
        assert_eq!(found.nearest(0, 2), Some(vec![2, 1]));
        assert_eq!(found.nearest(0, 3), Some(vec![2, 1, 6]));
        assert_eq!(found.nearest(0, 6), Some(vec![2, 1, 6, 7, 8, 5]));
        assert_eq!((found.nearest(0, 7), found.distinct_others(0)), (None, 6));
        // Elsewhere no answer is given to the same question.
        assert_eq!(found.distinct_others(5), 7);
    }

    #[test]
    fn shared_words_find_an_answer_that_repeats_its_question() {
        let found = words(&[
            ("What is gout?", "Gout is a disease."),
            ("What is croup?", "Croup is a disease."),
            ("What is mumps?", "A disease."),
        ]);
        assert_eq!(found.found_by_shared_words(0, &[0, 1, 2]), 1.0);
        assert_eq!(found.found_by_shared_words(2, &[2, 0]), 0.5);
        assert_eq!(found.found_by_shared_words(0, &[1, 0]), 0.0);
    }
}
