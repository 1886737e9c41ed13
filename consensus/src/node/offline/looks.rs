//! How often a directory is looked at that changes meanwhile, before that is said.

use super::directory_look::OfflineError;

/// Looks that are begun anew. How long one takes has no bound, for it reads what there is: where a
/// node goes on changing it that fast, whoever looks is told, and looks again.
const LOOKS_MAX: usize = 5;

/// Scans of the log in one look, each up to where the log reached before it: a node that writes is
/// not followed for ever.
pub(super) const SCANS_MAX: usize = 16;

/// What `look` finds; it is begun anew where it finds `None`: the directory became another one
/// meanwhile.
///
/// # Errors
/// The look's; [`OfflineError::Restless`] where it is always begun anew.
pub(super) fn until_still<T>(
    mut look: impl FnMut() -> Result<Option<T>, OfflineError>,
) -> Result<T, OfflineError> {
    for _ in 0..LOOKS_MAX {
        if let Some(found) = look()? {
            return Ok(found);
        }
    }
    Err(OfflineError::Restless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_still_at_last_is_looked_at_and_one_that_never_is_is_said_to_be_restless()
    {
        let mut looks = 0;
        let found = until_still(|| {
            looks += 1;
            Ok((looks == LOOKS_MAX).then_some(looks))
        });
        assert_eq!(found, Ok(LOOKS_MAX));
        let mut looks = 0;
        let restless: Result<(), _> = until_still(|| {
            looks += 1;
            Ok(None)
        });
        assert_eq!((restless, looks), (Err(OfflineError::Restless), LOOKS_MAX));
        let refused: Result<(), _> = until_still(|| Err(OfflineError::NoNode));
        assert_eq!(refused, Err(OfflineError::NoNode));
    }
}
