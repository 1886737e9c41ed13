//! Says whether a thread sleeps, so that others wake it only then, and never miss it.
//!
//! Pure. The sleeper [announces](SleepFlag::announce) its sleep, looks once more for what the
//! others leave it, and sleeps only where there was nothing. The others leave it first, and then
//! [ask](SleepFlag::take) whether it must be woken. Between the two steps of each side stands a
//! sequentially consistent fence: at least one of them sees what the other did first.

#[cfg(not(all(test, loom)))]
use core::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicBool, Ordering, fence};

/// See the module.
#[derive(Debug)]
pub(super) struct SleepFlag(AtomicBool);

impl SleepFlag {
    /// Of a thread that is awake.
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// The thread will sleep unless it finds something in one more look.
    pub fn announce(&self) {
        self.0.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The thread is awake.
    pub fn retract(&self) {
        self.0.swap(false, Ordering::Relaxed);
    }

    /// After something was left for the thread: whether the caller has to wake it. One caller is
    /// told so per sleep.
    pub fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        // The load keeps the line shared while the thread is awake.
        self.0.load(Ordering::Relaxed)
            && self
                .0
                .compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_caller_wakes_a_thread_that_announced_its_sleep_and_none_one_that_is_awake() {
        let flag = SleepFlag::new();
        assert!(!flag.take());
        flag.announce();
        assert!(flag.take() && !flag.take());
        flag.announce();
        flag.retract();
        assert!(!flag.take());
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// What is left for a sleeper, and the bell that wakes it.
    struct Place {
        flag: SleepFlag,
        left: [AtomicBool; 2],
        bell: AtomicBool,
    }

    impl Place {
        fn new() -> Self {
            Self {
                flag: SleepFlag::new(),
                left: [AtomicBool::new(false), AtomicBool::new(false)],
                bell: AtomicBool::new(false),
            }
        }

        fn leave(&self, index: usize) {
            self.left[index].store(true, Ordering::Release);
            if self.flag.take() {
                self.bell.swap(true, Ordering::AcqRel);
            }
        }

        /// One round of a sleeper that has `taken` some of it. Whether it found nothing more and
        /// waits for the bell now.
        fn is_asleep(&self, taken: &mut [bool; 2]) -> bool {
            self.bell.swap(false, Ordering::AcqRel);
            self.flag.announce();
            let left = [0, 1].map(|index| self.left[index].load(Ordering::Acquire));
            if left == *taken {
                return true;
            }
            *taken = left;
            self.flag.retract();
            false
        }
    }

    #[test]
    fn whoever_leaves_something_is_seen_or_wakes_the_sleeper() {
        let mut model = loom::model::Builder::new();
        // Exhaustive without this bound, in minutes; every mutant tried is found with it.
        model.preemption_bound = Some(3);
        model.check(|| {
            let place = Arc::new(Place::new());
            let others = [0, 1].map(|index| {
                let place = Arc::clone(&place);
                thread::spawn(move || place.leave(index))
            });
            let mut taken = [false, false];
            while !place.is_asleep(&mut taken) {}
            for other in others {
                other.join().unwrap();
            }
            let is_woken = place.bell.load(Ordering::Acquire);
            assert!(taken == [true, true] || is_woken, "sleeps for ever");
        });
    }
}
