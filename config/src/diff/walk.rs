//! A walk over any serialisable value, told to a [`Sink`].
//!
//! What must stay true: it knows no type of the model, so a new field is walked without a line of code here.

use std::fmt;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// What a composite is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Named fields.
    Record,
    /// Elements.
    List,
    /// One thing behind a name: an enum's variant.
    Variant,
    /// What may be compared and never shown.
    Secret,
}

/// A value without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scalar<'a> {
    /// `None`, or nothing at all.
    None,
    /// A flag.
    Bool(bool),
    /// Any whole number.
    Whole(i128),
    /// A text.
    Text(&'a str),
    /// An enum's variant that holds nothing.
    Unit(&'static str),
}

/// What is told of the walk.
pub(super) trait Sink {
    /// A value.
    fn scalar(&mut self, scalar: Scalar<'_>);
    /// A composite begins; `name` is its type's or its variant's, or empty.
    fn open(&mut self, kind: Kind, name: &'static str);
    /// What follows is the value of this field.
    fn field(&mut self, name: &'static str);
    /// What follows is the value of this key of a map.
    fn key(&mut self, key: String);
    /// The composite that was begun last ends.
    fn close(&mut self);
    /// Whether an element of a list needs no walk.
    fn skips<T: Serialize + ?Sized>(&mut self, _element: &T) -> bool {
        false
    }
}

/// Walks over a value; one that can't be serialised ends early, the same for every value of its type.
pub(super) fn walk<T: Serialize + ?Sized, S: Sink>(value: &T, sink: &mut S) {
    let _ = value.serialize(Walk { sink, at: 0 });
}

struct Walk<'s, S> {
    sink: &'s mut S,
    /// The place of the next part of a tuple.
    at: usize,
}

impl<S: Sink> Walk<'_, S> {
    fn scalar(self, scalar: Scalar<'_>) -> Result<(), Ended> {
        self.sink.scalar(scalar);
        Ok(())
    }

    fn whole(self, number: impl Into<i128>) -> Result<(), Ended> {
        self.scalar(Scalar::Whole(number.into()))
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Ended> {
        value.serialize(Walk { sink: &mut *self.sink, at: 0 })
    }

    fn tuple_part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Ended> {
        // Their places are their names; no tuple of the model has more.
        const PLACES: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
        self.sink.field(PLACES.get(self.at).copied().unwrap_or("more"));
        self.at += 1;
        self.part(value)
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Ended> {
        self.sink.field(key);
        self.part(value)
    }

    fn close(self) -> Result<(), Ended> {
        self.sink.close();
        Ok(())
    }

    /// Closes the variant that the fields are in, as well.
    fn close_variant(self) -> Result<(), Ended> {
        self.sink.close();
        self.sink.close();
        Ok(())
    }

    fn open(self, kind: Kind, name: &'static str) -> Self {
        self.sink.open(kind, name);
        self
    }
}

/// Why a walk ended early.
#[derive(Debug)]
struct Ended;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it can't be serialised")
    }
}

impl std::error::Error for Ended {}

impl serde::ser::Error for Ended {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Ended
    }
}

impl<'s, S: Sink> Serializer for Walk<'s, S> {
    type Ok = ();
    type Error = Ended;
    type SerializeSeq = Walk<'s, S>;
    type SerializeTuple = Walk<'s, S>;
    type SerializeTupleStruct = Walk<'s, S>;
    type SerializeTupleVariant = Walk<'s, S>;
    type SerializeMap = Walk<'s, S>;
    type SerializeStruct = Walk<'s, S>;
    type SerializeStructVariant = Walk<'s, S>;

    fn serialize_bool(self, v: bool) -> Result<(), Ended> {
        self.scalar(Scalar::Bool(v))
    }
    fn serialize_i8(self, v: i8) -> Result<(), Ended> {
        self.whole(v)
    }
    fn serialize_i16(self, v: i16) -> Result<(), Ended> {
        self.whole(v)
    }
    fn serialize_i32(self, v: i32) -> Result<(), Ended> {
        self.whole(v)
    }
    fn serialize_i64(self, v: i64) -> Result<(), Ended> {
        self.whole(v)
    }
    fn serialize_u8(self, v: u8) -> Result<(), Ended> {
        self.whole(v)
    }
    fn serialize_u16(self, v: u16) -> Result<(), Ended> {
        self.whole(v)
    }
    fn serialize_u32(self, v: u32) -> Result<(), Ended> {
        self.whole(v)
    }
    fn serialize_u64(self, v: u64) -> Result<(), Ended> {
        self.whole(v)
    }
    fn serialize_f32(self, v: f32) -> Result<(), Ended> {
        self.scalar(Scalar::Text(&v.to_string()))
    }
    fn serialize_f64(self, v: f64) -> Result<(), Ended> {
        self.scalar(Scalar::Text(&v.to_string()))
    }
    fn serialize_char(self, v: char) -> Result<(), Ended> {
        self.scalar(Scalar::Text(v.encode_utf8(&mut [0; 4])))
    }
    fn serialize_str(self, v: &str) -> Result<(), Ended> {
        self.scalar(Scalar::Text(v))
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<(), Ended> {
        v.serialize(self)
    }
    fn serialize_none(self) -> Result<(), Ended> {
        self.scalar(Scalar::None)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Ended> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), Ended> {
        self.scalar(Scalar::None)
    }
    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Ended> {
        self.scalar(Scalar::Unit(name))
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Ended> {
        self.scalar(Scalar::Unit(variant))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Ended> {
        if name != crate::model::SECRET {
            return value.serialize(self);
        }
        let mut inside = self.open(Kind::Secret, name);
        inside.part(value)?;
        inside.close()
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Ended> {
        let mut inside = self.open(Kind::Variant, variant);
        inside.part(value)?;
        inside.close()
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Ended> {
        Ok(self.open(Kind::List, ""))
    }
    fn serialize_tuple(self, _: usize) -> Result<Self, Ended> {
        Ok(self.open(Kind::Record, ""))
    }
    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Self, Ended> {
        Ok(self.open(Kind::Record, name))
    }
    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Self, Ended> {
        Ok(self.open(Kind::Variant, variant).open(Kind::Record, ""))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self, Ended> {
        Ok(self.open(Kind::Record, ""))
    }
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Self, Ended> {
        Ok(self.open(Kind::Record, name))
    }
    fn serialize_struct_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Self, Ended> {
        Ok(self.open(Kind::Variant, variant).open(Kind::Record, ""))
    }
}

impl<S: Sink> SerializeSeq for Walk<'_, S> {
    type Ok = ();
    type Error = Ended;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Ended> {
        if self.sink.skips(value) { Ok(()) } else { self.part(value) }
    }
    fn end(self) -> Result<(), Ended> {
        self.close()
    }
}

impl<S: Sink> SerializeTuple for Walk<'_, S> {
    type Ok = ();
    type Error = Ended;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Ended> {
        self.tuple_part(value)
    }
    fn end(self) -> Result<(), Ended> {
        self.close()
    }
}

impl<S: Sink> SerializeTupleStruct for Walk<'_, S> {
    type Ok = ();
    type Error = Ended;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Ended> {
        self.tuple_part(value)
    }
    fn end(self) -> Result<(), Ended> {
        self.close()
    }
}

impl<S: Sink> SerializeTupleVariant for Walk<'_, S> {
    type Ok = ();
    type Error = Ended;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Ended> {
        self.tuple_part(value)
    }
    fn end(self) -> Result<(), Ended> {
        self.close_variant()
    }
}

impl<S: Sink> SerializeMap for Walk<'_, S> {
    type Ok = ();
    type Error = Ended;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Ended> {
        let mut text = super::value::Build::default();
        walk(key, &mut text);
        self.sink.key(text.finish().show());
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Ended> {
        self.part(value)
    }
    fn end(self) -> Result<(), Ended> {
        self.close()
    }
}

impl<S: Sink> SerializeStruct for Walk<'_, S> {
    type Ok = ();
    type Error = Ended;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Ended> {
        self.field(key, value)
    }
    fn end(self) -> Result<(), Ended> {
        self.close()
    }
}

impl<S: Sink> SerializeStructVariant for Walk<'_, S> {
    type Ok = ();
    type Error = Ended;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Ended> {
        self.field(key, value)
    }
    fn end(self) -> Result<(), Ended> {
        self.close_variant()
    }
}
