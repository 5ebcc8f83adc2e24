//! CONNACK and the acknowledgements of PUBLISH.

use super::notation::{ALL, NOT_31, Row, V3, V5, V311};

#[rustfmt::skip]
pub const MALFORMED: &[Row] = &[
    // CONNACK.
    (ALL, "20 []", 0x81, "ends within a field"),
    (ALL, "20 [ 00 ]", 0x81, "ends within a field"),
    (NOT_31, "20 [ 02 00 ]", 0x81, "acknowledge flags 0b00000010"),
    (NOT_31, "20 [ 81 00 ]", 0x81, "acknowledge flags 0b10000001"),
    (V311, "20 [ 01 05 ]", 0x82, "refuses and has a session present"),
    (V5, "20 [ 01 87 () ]", 0x82, "refuses and has a session present"),
    (V3, "20 [ 00 06 ]", 0x82, "reason code 0x06"),
    (V3, "20 [ 00 80 ]", 0x82, "reason code 0x80"),
    (V3, "20 [ 00 ff ]", 0x82, "reason code 0xff"),
    (V5, "20 [ 00 01 () ]", 0x82, "reason code 0x01"),
    (V5, "20 [ 00 05 () ]", 0x82, "reason code 0x05"),
    (V5, "20 [ 00 8d () ]", 0x82, "reason code 0x8d"),
    (V5, "20 [ 00 00 ]", 0x81, "ends within a field"),
    (V5, "20 [ 00 00 () 00 ]", 0x81, "CONNACK has 1 bytes after its last field"),
    (V3, "20 [ 00 00 00 ]", 0x81, "CONNACK has 1 bytes after its last field"),
    (V5, "20 [ 00 00 ( 16 'd' ) ]", 0x82, "lacks the authentication method"),
    // PUBACK, PUBREC, PUBREL, PUBCOMP.
    (ALL, "40 []", 0x81, "PUBACK ends within a field"),
    (ALL, "40 [ 00 ]", 0x81, "PUBACK ends within a field"),
    (ALL, "50 [ 01 ]", 0x81, "PUBREC ends within a field"),
    (ALL, "62 []", 0x81, "PUBREL ends within a field"),
    (ALL, "70 [ 00 ]", 0x81, "PUBCOMP ends within a field"),
    (ALL, "40 [ 0000 ]", 0x82, "PUBACK has packet id 0"),
    (ALL, "50 [ 0000 ]", 0x82, "PUBREC has packet id 0"),
    (ALL, "62 [ 0000 ]", 0x82, "PUBREL has packet id 0"),
    (ALL, "70 [ 0000 ]", 0x82, "PUBCOMP has packet id 0"),
    (V3, "40 [ 0001 00 ]", 0x81, "PUBACK has 1 bytes after its last field"),
    (V3, "50 [ 0001 00 ]", 0x81, "PUBREC has 1 bytes after its last field"),
    (V3, "62 [ 0001 00 00 ]", 0x81, "PUBREL has 2 bytes after its last field"),
    (V3, "70 [ 0001 00 ]", 0x81, "PUBCOMP has 1 bytes after its last field"),
    (V5, "40 [ 0001 01 ]", 0x82, "PUBACK has reason code 0x01"),
    (V5, "40 [ 0001 92 ]", 0x82, "PUBACK has reason code 0x92"),
    (V5, "50 [ 0001 11 ]", 0x82, "PUBREC has reason code 0x11"),
    (V5, "62 [ 0001 10 ]", 0x82, "PUBREL has reason code 0x10"),
    (V5, "62 [ 0001 80 ]", 0x82, "PUBREL has reason code 0x80"),
    (V5, "70 [ 0001 91 ]", 0x82, "PUBCOMP has reason code 0x91"),
    (V5, "40 [ 0001 00 () 00 ]", 0x81, "PUBACK has 1 bytes after its last field"),
    (V5, "62 [ 0001 00 () 0000 ]", 0x81, "PUBREL has 2 bytes after its last field"),
    (V5, "40 [ 0001 00 04 1f ]", 0x81, "PUBACK ends within a field"),
    (V5, "50 [ 0001 00 ( 1f 'a' 1f 'b' ) ]", 0x82, "PUBREC has the property reason string twice"),
];
