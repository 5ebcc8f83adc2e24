//! Several brokers for one uplink.
