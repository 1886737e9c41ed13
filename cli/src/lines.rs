//! Standard output whose other end may be closed: a reader that has seen enough is no failure.

use std::io::{self, BufWriter, StdoutLock, Write};

use crate::outcome::Outcome;

/// Lines on their way to standard output.
pub struct Lines {
    out: BufWriter<StdoutLock<'static>>,
    failed: Option<io::Error>,
}

impl Lines {
    /// None so far.
    pub fn new() -> Self {
        Self {
            out: BufWriter::new(io::stdout().lock()),
            failed: None,
        }
    }

    /// Writes a line. Whether anybody reads on.
    pub fn put(&mut self, line: &str) -> bool {
        if self.failed.is_none()
            && let Err(error) = writeln!(self.out, "{line}")
        {
            self.failed = Some(error);
        }
        self.failed.is_none()
    }

    /// All lines are written. What came of it, `outcome` unless they could not be.
    pub fn finish(mut self, outcome: Outcome) -> Outcome {
        let failed = match self.failed.take() {
            Some(error) => Some(error),
            None => self.out.flush().err(),
        };
        match failed {
            None => outcome,
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => outcome,
            Some(error) => Outcome::failed(format!(
                "failed to write to standard output: {error}; give it somewhere to go"
            )),
        }
    }
}
