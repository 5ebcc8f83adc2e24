//! core: the templates that are part of the program.

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Name and text of each, in the order of their names.
        pub(super) const BUILT_IN: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../config/templates/", $name, ".yaml")))),*
        ];
    };
}

// Each file in `config/templates`.
built_in! {
    "abb-b23",
    "abb-drive",
    "carlo-gavazzi-em24-e1",
    "carlo-gavazzi-em340",
    "comwintop-pt100",
    "danfoss-fc51",
    "eastron-sdm120",
    "eastron-sdm630",
    "janitza-umg",
    "schneider-iem3000",
    "senseair-s8",
    "siemens-pac3200",
    "socomec-countis-e34",
    "sunspec-inverter",
    "sunspec-meter",
    "waveshare-relay",
    "xy-md02",
}
