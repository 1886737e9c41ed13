//! How citations are found, and what documents have to be cited.

pub mod assertions;
pub mod citation;
pub mod document;
pub mod layout;
pub mod oracles;
pub mod prose;
