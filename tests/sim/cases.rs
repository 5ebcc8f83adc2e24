//! core: single stories.
