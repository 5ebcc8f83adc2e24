//! What can be seen of a bus while it runs.
//!
//! Each bus keeps an [`account`] of its questions by kinds of [`trouble`], and what passed on it lately in a [`ring`], which
//! [`traffic`] tells frame by frame. An [`Onlooker`] asks the task of the bus for a [`view`]; what follows from all of it is said by
//! [`diagnosis`]. All but the onlooker are cores, and nothing of it decides what is asked.

pub mod account;
pub mod diagnosis;
mod onlooker;
pub mod ring;
pub mod traffic;
pub mod trouble;
pub mod view;

pub(in crate::field) use onlooker::Look;
pub use onlooker::Onlooker;
