//! How a wire type is written down: once, with its exact JSON names.
//!
//! The Rust name of a field is its snake_case alias in config entries, so that one declaration gives the serde
//! implementation, the names a strict decoder accepts and the aliases.

/// A free-form object whose keys are never translated (`Proxy.Config`, `Arguments`).
pub type Opaque = serde_json::Map<String, serde_json::Value>;

pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Accepts `null` where Consul's server prints it for an unset list, map or struct.
pub(crate) fn or_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    use serde::Deserialize as _;
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Declares a wire struct: `always` fields are printed even when empty, the rest only when they say something.
macro_rules! wire {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( @always { $( $(#[$ameta:meta])* $afield:ident : $aty:ty = $awire:literal, )* } )?
            $( $(#[$fmeta:meta])* $field:ident : $ty:ty = $wire:literal, )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(
                $(#[$ameta])*
                #[serde(rename = $awire, deserialize_with = "crate::wire::or_null")]
                pub $afield: $aty,
            )*)?
            $(
                $(#[$fmeta])*
                #[serde(
                    rename = $wire,
                    skip_serializing_if = "crate::wire::is_zero",
                    deserialize_with = "crate::wire::or_null"
                )]
                pub $field: $ty,
            )*
        }

        impl crate::shape::Shaped for $name {
            fn shape() -> crate::shape::Shape {
                crate::shape::Shape::Struct(|| vec![
                    $($( crate::shape::Field {
                        name: $awire,
                        alias: stringify!($afield),
                        shape: <$aty as crate::shape::Shaped>::shape,
                    }, )*)?
                    $( crate::shape::Field {
                        name: $wire,
                        alias: stringify!($field),
                        shape: <$ty as crate::shape::Shaped>::shape,
                    }, )*
                ])
            }
        }
    )*};
}
