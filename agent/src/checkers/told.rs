//! `FILE_CHECK` and `BFD_CHECK`: what threads that watch tell by themselves.

use keepone_config::model::Weight;
use keepone_proto::balance::checker::Outcome;
use keepone_proto::watch::Reading;

/// At this product and below a file says that its server is down, as keepalived has it.
const DOWN: i64 = -(i32::MAX as i64);

/// A tracked file: its number, multiplied, is added to the weight. With a factor of 0 it says up (0) or down.
pub(super) fn file(reading: &Reading, weight: Weight) -> Outcome {
    let number = match reading {
        Reading::Number(number) => *number,
        // It counts as 0, as everywhere.
        Reading::Missing | Reading::Up => 0,
        Reading::Down(words) | Reading::Unreadable(words) => return Outcome::Failed(words.clone()),
    };
    let number = if weight.reverse { number.saturating_neg() } else { number };
    if weight.value == 0 {
        let words = || Outcome::Failed(format!("the file says {number}, and its weight is 0"));
        return if (number == 0) == weight.reverse { words() } else { Outcome::Passed };
    }
    match number.saturating_mul(i64::from(weight.value)) {
        product if product <= DOWN => Outcome::Failed(format!("the file says {number} times {}", weight.value)),
        product => Outcome::Added(product),
    }
}

/// A BFD session.
pub(super) fn session(reading: &Reading) -> Outcome {
    match reading {
        Reading::Up => Outcome::Passed,
        Reading::Down(words) | Reading::Unreadable(words) => Outcome::Failed(words.clone()),
        Reading::Number(_) | Reading::Missing => Outcome::Failed(String::from("nobody serves the session")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_adds_to_the_weight_or_says_down() {
        let of = |number, value, reverse| file(&Reading::Number(number), Weight { value, reverse });
        assert_eq!(of(3, 10, false), Outcome::Added(30));
        assert_eq!(of(3, 10, true), Outcome::Added(-30));
        assert_eq!(of(-3, -2, false), Outcome::Added(6));
        assert!(matches!(of(-2_147_483_647, 1, false), Outcome::Failed(_)));
        assert_eq!(of(-2_147_483_646, 1, false), Outcome::Added(-2_147_483_646));
        assert_eq!(file(&Reading::Missing, Weight { value: 5, reverse: false }), Outcome::Added(0));
        assert!(matches!(file(&Reading::Unreadable("denied".into()), Weight::default()), Outcome::Failed(_)));
    }

    #[test]
    fn with_a_weight_of_0_it_says_up_or_down() {
        let of = |number, reverse| file(&Reading::Number(number), Weight { value: 0, reverse });
        assert_eq!((of(0, false), of(4, true)), (Outcome::Passed, Outcome::Passed));
        assert!(matches!(of(4, false), Outcome::Failed(_)) && matches!(of(0, true), Outcome::Failed(_)));
    }
}
