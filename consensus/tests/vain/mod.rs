//! Scenarios that have to fail, and what they say then.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a scenario that fails says.
fn words(scenario: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(scenario)).expect_err("it fails");
    *panic.downcast::<String>().expect("words")
}

/// The scenario fails, and says all of this.
pub fn expect_words(parts: &[&str], scenario: impl FnOnce()) {
    let words = words(scenario);
    for part in parts {
        assert!(words.contains(part), "{part:?} is missing in {words}");
    }
}
