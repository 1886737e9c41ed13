//! What a process says on its standard error, line by line, while it runs. A thread of its own
//! listens, so that nobody's pipe fills up and a test may wait for a line.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "shared by several tests, none of which needs all; a thread and the clock"
)]

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub struct Lines {
    coming: Receiver<String>,
    heard: Vec<String>,
}

impl Lines {
    /// Listens to a child whose standard error is piped.
    pub fn of(child: &mut Child) -> Self {
        let (sender, coming) = channel();
        let stderr = child.stderr.take().expect("stderr is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // The test may have heard enough and be gone.
                let _ = sender.send(line);
            }
        });
        let heard = Vec::new();
        Self { coming, heard }
    }

    /// All that has been said so far.
    pub fn heard(&mut self) -> &[String] {
        self.heard.extend(self.coming.try_iter());
        &self.heard
    }

    /// All that is said until nobody has the other end any more.
    pub fn rest(mut self) -> Vec<String> {
        self.heard.extend(self.coming);
        self.heard
    }

    /// Waits for a line that has all of `parts`.
    pub fn expect(&mut self, within: Duration, parts: &[&str]) -> String {
        let until = Instant::now() + within;
        let is_it = |line: &&String| parts.iter().all(|part| line.contains(part));
        if let Some(line) = self.heard().iter().find(is_it) {
            return line.clone();
        }
        while let Ok(line) = self
            .coming
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.heard.push(line.clone());
            if is_it(&&line) {
                return line;
            }
        }
        panic!(
            "{parts:?} within {within:?} is missing in {:#?}",
            self.heard
        );
    }
}
