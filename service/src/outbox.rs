//! placeholder
/// e
#[derive(Debug)]
pub struct EmitError;
/// o
#[derive(Debug)]
pub struct Outbox;
impl Outbox {
    /// e
    pub fn emit(&mut self, _c: i64, _s: i64, _m: &[u8]) -> Result<(), EmitError> {
        Ok(())
    }
}
