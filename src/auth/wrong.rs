//! Passwords that were wrong a short time ago.
//!
//! Owns that the same guess again costs no hash, and is refused no sooner for it: it waits as long as its hash took,
//! and as many of them at a time as hashes are computed. So who sends it again and again gets no further than before,
//! takes no processor for it and holds up no check of another password. Knows guesses by digests only, which take
//! in the hash they were held against: with another password set a guess is a new one.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::answers::Answers;
use crate::base::limits::{GUESS_REMEMBERED, GUESSES_REMEMBERED_MAX};

/// Made with a key of this process: of user, password and stored hash.
pub(super) type Guess = [u8; 32];

/// See the module.
pub(super) struct Wrong {
    /// How long their hashes took.
    took: Answers<Guess, Duration>,
    slots: Semaphore,
}

impl Wrong {
    /// None yet. So many are refused at a time.
    pub(super) fn new(at_a_time: usize) -> Self {
        Wrong {
            took: Answers::new(GUESS_REMEMBERED, GUESSES_REMEMBERED_MAX),
            slots: Semaphore::new(at_a_time),
        }
    }

    /// Whether it is known to be wrong.
    pub(super) fn knows(&self, guess: &Guess) -> bool {
        self.took.get(guess).is_some()
    }

    /// Whether it is known to be wrong; if so, not before its time.
    pub(super) async fn refuses(&self, guess: &Guess) -> bool {
        let Some(took) = self.took.get(guess) else {
            return false;
        };
        // Fails only when closed, which nobody does.
        let _slot = self.slots.acquire().await;
        sleep(took).await;
        true
    }

    /// It was wrong, and to find that out took so long.
    pub(super) fn note(&self, guess: Guess, took: Duration) {
        self.took.put(guess, took);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const TOOK: Duration = Duration::from_millis(30);

    #[tokio::test]
    async fn a_guess_is_refused_in_its_turn_and_no_sooner_than_by_its_hash() {
        let wrong = Wrong::new(1);
        assert!(!wrong.refuses(&[1; 32]).await);
        wrong.note([1; 32], TOOK);
        assert!(wrong.knows(&[1; 32]) && !wrong.knows(&[2; 32]));
        let begun = Instant::now();
        let (one, other, third) = tokio::join!(
            wrong.refuses(&[1; 32]),
            wrong.refuses(&[1; 32]),
            wrong.refuses(&[2; 32])
        );
        assert_eq!((one, other, third), (true, true, false));
        assert!(begun.elapsed() >= 2 * TOOK);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let wrong = Wrong::new(1);
        for number in 0..=GUESSES_REMEMBERED_MAX as u64 {
            let mut guess = [0; 32];
            guess[..8].copy_from_slice(&number.to_be_bytes());
            wrong.note(guess, TOOK);
            assert!(wrong.knows(&guess));
        }
        assert!(wrong.took.len() <= GUESSES_REMEMBERED_MAX);
    }
}
