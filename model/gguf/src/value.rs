//! Metadata: values under names, in the file's order.

/// Values under their names.
pub type Metadata = Vec<(String, Value)>;

/// A value of the metadata, in the kinds that models of this family need.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A count, a size or an id.
    U32(u32),
    /// A number.
    F32(f32),
    /// A switch.
    Bool(bool),
    /// A text.
    String(String),
    /// Texts, such as a vocabulary.
    Strings(Vec<String>),
    /// Numbers, such as the kinds of a vocabulary's tokens.
    I32s(Vec<i32>),
}

/// The numbers by which a file tells the kinds apart.
pub(crate) mod kind {
    pub(crate) const U32: u32 = 4;
    pub(crate) const I32: u32 = 5;
    pub(crate) const F32: u32 = 6;
    pub(crate) const BOOL: u32 = 7;
    pub(crate) const STRING: u32 = 8;
    pub(crate) const ARRAY: u32 = 9;
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::U32(number)
    }
}

impl From<bool> for Value {
    fn from(switch: bool) -> Self {
        Self::Bool(switch)
    }
}
