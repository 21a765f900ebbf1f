//! A family of attributes from a list of its names, values and numbers.

/// Declares an enumeration of attributes that netlink-packet-core can emit and parse. Everything that is not in the
/// list, or has a value of another length, is `Other`.
macro_rules! attributes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident($value:ty) = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant($value),)*
            /// What is none of these, as it came.
            Other(netlink_packet_core::DefaultNla),
        }

        impl netlink_packet_core::Nla for $name {
            fn value_len(&self) -> usize {
                match self {
                    $($name::$variant(value) => $crate::wire::value::Value::len(value),)*
                    $name::Other(other) => other.value_len(),
                }
            }

            fn kind(&self) -> u16 {
                match self {
                    $($name::$variant(_) => $number | <$value as $crate::wire::value::Value>::BITS,)*
                    $name::Other(other) => other.kind(),
                }
            }

            fn emit_value(&self, buffer: &mut [u8]) {
                match self {
                    $($name::$variant(value) => $crate::wire::value::Value::emit(value, buffer),)*
                    $name::Other(other) => other.emit_value(buffer),
                }
            }
        }

        impl<'a> netlink_packet_core::Parseable<netlink_packet_core::NlaBuffer<&'a [u8]>> for $name {
            fn parse(
                buffer: &netlink_packet_core::NlaBuffer<&'a [u8]>,
            ) -> Result<Self, netlink_packet_core::DecodeError> {
                let known = match buffer.kind() {
                    $($number => <$value as $crate::wire::value::Value>::parse(buffer.value()).map($name::$variant),)*
                    _ => None,
                };
                known.map_or_else(|| netlink_packet_core::DefaultNla::parse(buffer).map($name::Other), Ok)
            }
        }
    };
}

pub(super) use attributes;
