//! What was answered to the deliveries of a shard.

use super::super::answer::DoneAnswer;

/// Answers and how many deliveries got each. Most handlers give the same one each time, and it is
/// kept once.
#[derive(Default)]
pub(super) struct Answers {
    kept: Vec<Kept>,
    /// The places that nobody uses.
    free: Vec<u32>,
    /// The place of the last answer, if it is still used.
    last: Option<u32>,
}

struct Kept {
    answer: DoneAnswer,
    count: u32,
}

impl Answers {
    pub(super) fn get(&self, place: u32) -> &DoneAnswer {
        &self.kept[place as usize].answer
    }

    /// Keeps an answer for one more delivery, and nothing of the buffer that its body is a part of.
    pub(super) fn add(&mut self, answer: &DoneAnswer) -> u32 {
        if let Some(last) = self.last {
            let kept = &mut self.kept[last as usize];
            if kept.answer == *answer {
                kept.count += 1;
                return last;
            }
        }
        let kept = Kept { answer: answer.detached(), count: 1 };
        let place = match self.free.pop() {
            Some(place) => {
                self.kept[place as usize] = kept;
                place
            }
            None => {
                self.kept.push(kept);
                #[allow(clippy::cast_possible_truncation, reason = "there are no more than entries")]
                let end = self.kept.len() as u32;
                end - 1
            }
        };
        self.last = Some(place);
        place
    }

    /// Forgets an answer unless other deliveries got it as well.
    pub(super) fn remove(&mut self, place: u32) {
        let kept = &mut self.kept[place as usize];
        kept.count -= 1;
        if kept.count == 0 {
            kept.answer = DoneAnswer::new(kept.answer.status());
            self.free.push(place);
            self.last = self.last.filter(|last| *last != place);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn equal_answers_in_a_row_are_kept_once_and_what_nobody_uses_makes_room() {
        let [ok, created] = [StatusCode::OK, StatusCode::CREATED].map(|status| DoneAnswer::new(status).with_body("."));
        let mut answers = Answers::default();
        assert_eq!([&ok, &ok, &created, &created].map(|answer| answers.add(answer)), [0, 0, 1, 1]);
        answers.remove(1);
        answers.remove(1);
        assert_eq!(answers.get(0), &ok);
        assert_eq!(answers.add(&DoneAnswer::new(StatusCode::CREATED)), 1, "not taken for one that is gone");
        assert_eq!(answers.add(&created), 2);
        answers.remove(0);
        assert_eq!(answers.get(0), &ok, "one delivery still has it");
    }
}
