//! DISCONNECT and AUTH.

use super::notation::{Row, V3, V5};

#[rustfmt::skip]
pub const MALFORMED: &[Row] = &[
    (V3, "e0 [ 00 ]", 0x81, "DISCONNECT has 1 bytes after its last field"),
    (V3, "e0 [ 00 00 ]", 0x81, "DISCONNECT has 2 bytes after its last field"),
    (V5, "e0 [ 01 ]", 0x82, "reason code 0x01"),
    (V5, "e0 [ 18 ]", 0x82, "reason code 0x18"),
    (V5, "e0 [ 84 () ]", 0x82, "reason code 0x84"),
    (V5, "e0 [ 91 () ]", 0x82, "reason code 0x91"),
    (V5, "e0 [ ff ]", 0x82, "reason code 0xff"),
    (V5, "e0 [ 00 () 00 ]", 0x81, "DISCONNECT has 1 bytes after its last field"),
    (V5, "e0 [ 00 05 11 ]", 0x81, "ends within a field"),
    (V5, "e0 [ 00 ( 11 000000 ) ]", 0x81, "ends within a field"),
    (V5, "e0 [ 00 ( 11 00000000 11 00000000 ) ]", 0x82, "session expiry interval twice"),
    (V5, "e0 [ 00 ( 1c 0001 ff ) ]", 0x81, "not UTF-8"),
    (V5, "f0 [ 18 ]", 0x81, "AUTH ends within a field"),
    (V5, "f0 [ 00 ]", 0x81, "AUTH ends within a field"),
    (V5, "f0 [ 18 () ]", 0x82, "AUTH lacks the authentication method"),
    (V5, "f0 [ 00 () ]", 0x82, "AUTH lacks the authentication method"),
    (V5, "f0 [ 18 ( 16 'data' ) ]", 0x82, "AUTH lacks the authentication method"),
    (V5, "f0 [ 01 ( 15 'm' ) ]", 0x82, "AUTH has reason code 0x01"),
    (V5, "f0 [ 80 ( 15 'm' ) ]", 0x82, "AUTH has reason code 0x80"),
    (V5, "f0 [ 18 ( 15 'm' 15 'm' ) ]", 0x82, "authentication method twice"),
    (V5, "f0 [ 18 ( 15 'm' 16 'd' 16 'd' ) ]", 0x82, "authentication data twice"),
    (V5, "f0 [ 18 ( 15 'm' ) 00 ]", 0x81, "AUTH has 1 bytes after its last field"),
];
