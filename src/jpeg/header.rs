//! A JPEG's header as facts: size, components, tables, where the scan lies. Validated once, by
//! [`Header::parse`]; nothing is copied. ITU-T T.81 §B.

/// Marker codes: the byte behind 0xFF. T.81 table B.1.
#[allow(missing_docs)]
pub mod marker {
    pub const TEM: u8 = 0x01;
    pub const SOF0: u8 = 0xc0;
    pub const SOF1: u8 = 0xc1;
    pub const SOF2: u8 = 0xc2;
    pub const DHT: u8 = 0xc4;
    pub const RST0: u8 = 0xd0;
    pub const RST7: u8 = 0xd7;
    pub const SOI: u8 = 0xd8;
    pub const EOI: u8 = 0xd9;
    pub const SOS: u8 = 0xda;
    pub const DQT: u8 = 0xdb;
    pub const DRI: u8 = 0xdd;
    pub const APP0: u8 = 0xe0;
    pub const APP14: u8 = 0xee;
    pub const COM: u8 = 0xfe;
}
