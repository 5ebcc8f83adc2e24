//! shell: opens the store as it is found: a damaged database is salvaged, on a full disk the room held for that is given
//! up. What neither helps against is an error.

use std::path::Path;

use super::change::Snapshot;
use super::database::Database;
use super::error::StoreError;
use super::layers::Layers;
use super::reserve::Reserve;
use super::salvage;
use super::settings::Staging;

/// Opens both layers in `state_dir`.
///
/// # Errors
/// [`StoreError`] says which file and what to do.
pub(super) fn open(
    state_dir: &Path,
    staging: Option<&Staging>,
) -> Result<(Layers, Snapshot), StoreError> {
    let mut reserve = Reserve::find(state_dir);
    // One that does not hold after it was salvaged would be salvaged for ever.
    let mut damage = salvage::find(state_dir)?;
    let mut salvaged = false;
    loop {
        let attempt = match &damage {
            Some(cause) => salvage::salvage(state_dir, cause).map(|()| salvaged = true),
            None => Ok(()),
        };
        let attempt = attempt.and_then(|()| {
            damage = None;
            Layers::open(Database::open(state_dir, None)?, staging.cloned())
        });
        match attempt {
            Ok((mut layers, snapshot)) => {
                layers.hold(reserve);
                return Ok((layers, snapshot));
            }
            Err(error) if error.is_damage() && !salvaged => damage = Some(error.to_string()),
            Err(error) if error.is_full() && reserve.give_up() => {}
            Err(error) => return Err(error),
        }
    }
}
