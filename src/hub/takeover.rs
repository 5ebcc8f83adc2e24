//! core: client ids that two clients fight over. A client that comes back takes over its own old connection now and then;
//! two that share a client id end each other's connection without end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long takeovers are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// So many within that are a client's own affair.
const USUAL_MAX: u32 = 3;
/// Client ids that are remembered at most.
const CLIENTS_MAX: usize = 1024;

/// What a takeover looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// A client comes back.
    Usual,
    /// Two clients share a client id. Said once until a minute has passed without a takeover.
    Fight,
    /// They still do: so many takeovers since it was said.
    Fighting(u64),
}

/// The takeovers of the last minute.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    clients: HashMap<Arc<str>, Recent>,
}

#[derive(Debug)]
struct Recent {
    first: Instant,
    last: Instant,
    count: u32,
    /// Since it was said that they fight.
    fighting: Option<u64>,
}

impl Takeovers {
    /// A client took over the connection of another with its client id.
    pub(super) fn handle(&mut self, client_id: &Arc<str>, now: Instant) -> Takeover {
        if self.clients.len() >= CLIENTS_MAX {
            self.clients.retain(|_, recent| now < recent.last + WINDOW);
            if self.clients.len() >= CLIENTS_MAX {
                self.clients.clear();
            }
        }
        let new = Recent { first: now, last: now, count: 0, fighting: None };
        let recent = self.clients.entry(client_id.clone()).or_insert(new);
        if now >= recent.last + WINDOW {
            recent.fighting = None;
        }
        if now >= recent.first + WINDOW {
            (recent.first, recent.count) = (now, 0);
        }
        recent.last = now;
        recent.count += 1;
        if let Some(count) = &mut recent.fighting {
            *count += 1;
            return Takeover::Fighting(*count);
        }
        if recent.count <= USUAL_MAX {
            return Takeover::Usual;
        }
        recent.fighting = Some(0);
        Takeover::Fight
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn two_clients_that_share_a_client_id_are_said_once() {
        let (mut takeovers, now) = (Takeovers::default(), Instant::now());
        let mut at = |seconds| takeovers.handle(&"a".into(), now + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(2)], [Takeover::Usual; 3]);
        assert_eq!(at(3), Takeover::Fight);
        assert_eq!((at(4), at(50)), (Takeover::Fighting(1), Takeover::Fighting(2)));
        assert_eq!(at(109), Takeover::Fighting(3), "no minute was quiet");
        assert_eq!(at(169), Takeover::Usual);
    }

    #[test]
    fn a_client_that_comes_back_now_and_then_fights_with_nobody() {
        let (mut takeovers, now) = (Takeovers::default(), Instant::now());
        for minute in 0..100 {
            let at = now + Duration::from_secs(21 * minute);
            assert_eq!(takeovers.handle(&"a".into(), at), Takeover::Usual, "{minute}");
        }
    }
}
