//! core: what the registers of a point mean.

/// What the registers of a point mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A bit.
    Bool,
    /// Signed, one half of a register.
    I8(Half),
    /// Unsigned, one half of a register.
    U8(Half),
    /// Signed, one register.
    I16,
    /// Unsigned, one register.
    U16,
    /// Signed, two registers.
    I32,
    /// Unsigned, two registers.
    U32,
    /// Signed, three registers.
    I48,
    /// Unsigned, three registers.
    U48,
    /// Signed, four registers.
    I64,
    /// Unsigned, four registers.
    U64,
    /// The highest bit is the sign, the others are the magnitude.
    SignMagnitude {
        /// How many registers, 1, 2 or 4.
        registers: u8,
    },
    /// IEEE 754 single, two registers.
    F32,
    /// IEEE 754 double, four registers.
    F64,
    /// Binary-coded decimal of 4, 8 or 16 digits: one, two or four registers.
    Bcd {
        /// How many registers, 1, 2 or 4.
        registers: u8,
    },
    /// Text of `length` bytes, two a register, ended by the first NUL, trailing spaces cut.
    Text {
        /// Length in bytes, 1 to 250.
        length: u8,
        /// What the bytes mean.
        encoding: Encoding,
    },
    /// A date and time, published as RFC 3339.
    Time {
        /// How it is packed.
        layout: TimeLayout,
        /// What the device's clock is ahead of UTC, in minutes.
        offset_minutes: i16,
    },
}

impl ValueType {
    /// How many registers a value takes; 1 for a bit or half of a register.
    #[must_use]
    pub fn registers(self) -> u16 {
        match self {
            Self::Bool | Self::I8(_) | Self::U8(_) | Self::I16 | Self::U16 => 1,
            Self::I32 | Self::U32 | Self::F32 => 2,
            Self::I48 | Self::U48 => 3,
            Self::I64 | Self::U64 | Self::F64 => 4,
            Self::Bcd { registers } | Self::SignMagnitude { registers } => u16::from(registers),
            Self::Text { length, .. } => u16::from(length).div_ceil(2),
            Self::Time { layout, .. } => layout.registers(),
        }
    }
}

/// Which half of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Half {
    /// Bits 8 to 15.
    High,
    /// Bits 0 to 7.
    #[default]
    Low,
}

/// What the bytes of a text mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// UTF-8, and what is none is taken as Latin-1: old devices mean that by it.
    #[default]
    Guess,
    /// Seven bits a character; anything else is out of range.
    Ascii,
    /// ISO 8859-1: every byte is a character.
    Latin1,
    /// UTF-8; anything else is out of range.
    Utf8,
    /// UTF-16: a unit in each register.
    Utf16,
}

/// How a date and time is packed into registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeLayout {
    /// Seconds since 1970 in two registers.
    Unix,
    /// Milliseconds since 1970 in four registers.
    UnixMs,
    /// The time of IEC 60870-5-4 (CP56Time2a) in four registers. Most significant first: year; month and day; hour and
    /// minute; millisecond of the minute.
    Cp56,
    /// Year, month, day, hour, minute and second, a register each.
    Registers,
    /// Year, month, day, hour, minute and second, a byte each, in three registers.
    Bytes,
    /// As [`Self::Bytes`], each byte two decimal digits.
    Bcd,
}

impl TimeLayout {
    /// How many registers it takes.
    #[must_use]
    pub fn registers(self) -> u16 {
        match self {
            Self::Unix => 2,
            Self::Bytes | Self::Bcd => 3,
            Self::UnixMs | Self::Cp56 => 4,
            Self::Registers => 6,
        }
    }
}

/// What a device says instead of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Marker {
    /// These bits, put in natural order.
    Pattern(u64),
    /// Any float that is not a number.
    NaN,
}
