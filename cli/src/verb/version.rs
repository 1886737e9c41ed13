//! `lockstep version`.

/// Prints the version.
pub fn run() {
    println!("lockstep {}", env!("CARGO_PKG_VERSION"));
}
