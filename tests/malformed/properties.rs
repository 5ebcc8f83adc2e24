//! Properties with values they may not have, twice, unknown or broken off (MQTT 5.0 section 2.2.2).

use super::notation::{Row, V5};

#[rustfmt::skip]
pub const MALFORMED: &[Row] = &[
    (V5, "10 [ 'MQTT' 05 02 003c ( 21 0000 ) 'c' ]", 0x82, "receive maximum with value 0"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 27 00000000 ) 'c' ]", 0x82, "maximum packet size with value 0"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 19 02 ) 'c' ]", 0x82, "request response information with value 2"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 17 02 ) 'c' ]", 0x82, "request problem information with value 2"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 16 'd' ) 'c' ]", 0x82, "lacks the authentication method"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 00 ) 'c' ]", 0x81, "unknown property 0x00"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 04 00 ) 'c' ]", 0x81, "unknown property 0x04"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 2b 00 ) 'c' ]", 0x81, "unknown property 0x2b"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 7f 00 ) 'c' ]", 0x81, "unknown property 0x7f"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 9101 00000000 ) 'c' ]", 0x81, "unknown property 0x91"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 9100 00000000 ) 'c' ]", 0x81, "needs fewer"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 11 ) 'c' ]", 0x81, "ends within a field"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 11 0000 ) 'c' ]", 0x81, "ends within a field"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 15 0003 =ab ) 'c' ]", 0x81, "ends within a field"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 80 ) 'c' ]", 0x81, "ends within a field"),
    (V5, "10 [ 'MQTT' 05 02 003c 8500 11 00000000 'c' ]", 0x81, "needs fewer"),
    (V5, "10 [ 'MQTT' 05 02 003c ff 'c' ]", 0x81, "needs fewer"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 11 00000000 11 00000000 ) 'c' ]", 0x82, "session expiry interval twice"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 21 0001 11 00000000 21 0001 ) 'c' ]", 0x82, "receive maximum twice"),
    (V5, "10 [ 'MQTT' 05 02 003c ( 01 00 ) 'c' ]", 0x81, "payload format indicator, which it may not have"),
    (V5, "10 [ 'MQTT' 05 06 003c () 'c' ( 01 02 ) 'w' 'p' ]", 0x82, "payload format indicator with value 2"),
    (V5, "10 [ 'MQTT' 05 06 003c () 'c' ( 08 'r/#' ) 'w' 'p' ]", 0x90, "must not contain `#`"),
    (V5, "10 [ 'MQTT' 05 06 003c () 'c' ( 18 00000000 18 00000000 ) 'w' 'p' ]", 0x82, "will delay interval twice"),
    (V5, "10 [ 'MQTT' 05 06 003c () 'c' ( 23 0001 ) 'w' 'p' ]", 0x81, "topic alias, which it may not have"),
    (V5, "10 [ 'MQTT' 05 06 003c () 'c' ( 11 00000001 ) 'w' 'p' ]", 0x81, "session expiry interval, which it may not have"),
    (V5, "20 [ 00 00 ( 21 0000 ) ]", 0x82, "receive maximum with value 0"),
    (V5, "20 [ 00 00 ( 27 00000000 ) ]", 0x82, "maximum packet size with value 0"),
    (V5, "20 [ 00 00 ( 24 02 ) ]", 0x82, "maximum QoS with value 2"),
    (V5, "20 [ 00 00 ( 25 02 ) ]", 0x82, "retain available with value 2"),
    (V5, "20 [ 00 00 ( 28 02 ) ]", 0x82, "wildcard subscription available with value 2"),
    (V5, "20 [ 00 00 ( 29 ff ) ]", 0x82, "subscription identifiers available with value 255"),
    (V5, "20 [ 00 00 ( 2a 02 ) ]", 0x82, "shared subscription available with value 2"),
];
