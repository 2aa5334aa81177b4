//! What a wire type looks like, as data: a strict decoder walks it to translate keys, coerce weakly typed values
//! and name the keys nobody knows.

use std::collections::BTreeMap;

use crate::{GoDuration, Nanos, Opaque};

/// The form of one value.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    Text,
    Bool,
    Integer,
    Float,
    /// A Go duration string or integer nanoseconds.
    Duration,
    List(fn() -> Self),
    /// A map whose keys are the user's.
    Map(fn() -> Self),
    Struct(fn() -> Vec<Field>),
    /// Taken as it is.
    Any,
}

/// A member of a struct: its exact name and the snake_case name config entries may use instead.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub alias: &'static str,
    pub shape: fn() -> Shape,
}

/// Implemented by everything that can stand in a wire struct.
pub trait Shaped {
    fn shape() -> Shape;
}

macro_rules! shaped {
    ($($ty:ty => $shape:expr),* $(,)?) => {$(
        impl crate::shape::Shaped for $ty {
            fn shape() -> crate::shape::Shape {
                $shape
            }
        }
    )*};
}
pub(crate) use shaped;

shaped! {
    String => Shape::Text,
    bool => Shape::Bool,
    u16 => Shape::Integer,
    u32 => Shape::Integer,
    u64 => Shape::Integer,
    i32 => Shape::Integer,
    i64 => Shape::Integer,
    f32 => Shape::Float,
    GoDuration => Shape::Duration,
    Nanos => Shape::Duration,
    Opaque => Shape::Any,
    serde_json::Value => Shape::Any,
}

impl<T: Shaped> Shaped for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: Shaped> Shaped for Box<T> {
    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: Shaped> Shaped for Vec<T> {
    fn shape() -> Shape {
        Shape::List(T::shape)
    }
}

impl<T: Shaped> Shaped for BTreeMap<String, T> {
    fn shape() -> Shape {
        Shape::Map(T::shape)
    }
}
