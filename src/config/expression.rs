//! core: points made of others, as written under `expression` and `scale_by`.

use std::collections::HashSet;
use std::rc::Rc;

use super::fields::{Field, list, nearest};
use super::notes::{At, Given, Notes};
use super::point::Point;
use super::report::Report;
use super::value_type::no_number;
use crate::field::{ComputedSettings, Formula, FormulaError, Function, PointSettings, ValueType};

/// Bytes of an expression, at most.
const EXPRESSION_BYTES_MAX: usize = 500;
/// Numbers, points and operators of an expression, those of the points made of others that it uses included.
const SIZE_MAX: usize = 1_000;

/// Reads an expression; its names are looked up once all points are known.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    let text = field.text("write a calculation such as `(a + b) * 0.1`", notes)?;
    if text.value.len() > EXPRESSION_BYTES_MAX {
        let message = format!("this expression has more than {EXPRESSION_BYTES_MAX} bytes");
        notes.error(&text.spot, message, "give parts of it a name of their own");
        return None;
    }
    Some(text)
}

/// Finds what the points of one device are made of.
pub(super) struct Maker<'p> {
    points: &'p [Point],
    /// Where each of `points` stands among those that are read.
    indices: &'p [Option<usize>],
    /// Those.
    settled: &'p [PointSettings],
    used: HashSet<Rc<str>>,
    /// The points on the way to the one that is looked at.
    open: Vec<Rc<str>>,
}

/// Why there is no formula for a point.
enum Why {
    /// There is no such point.
    Unknown,
    /// It has been complained about where it stands.
    Elsewhere,
    /// It is made of itself: message.
    Circle(String),
    /// It cannot be calculated with: message and remedy.
    Useless(String, String),
}

impl<'p> Maker<'p> {
    pub(super) fn new(
        points: &'p [Point],
        indices: &'p [Option<usize>],
        settled: &'p [PointSettings],
    ) -> Self {
        Self { points, indices, settled, used: HashSet::new(), open: Vec::new() }
    }

    /// What `point` is made of, and `report` is that of its device; `None` if it is read as it is, or cannot be made.
    pub(super) fn make(
        &mut self,
        point: &Point,
        report: &Given<Report>,
        notes: &mut Notes<'_>,
    ) -> Option<ComputedSettings> {
        let made_of = point.made_of()?;
        let formula = match self.formula(point) {
            Ok(formula) => formula,
            Err(Why::Elsewhere | Why::Unknown) => return None,
            Err(Why::Circle(message)) => {
                notes.error(made_of, message, "make one of them of something else");
                return None;
            }
            Err(Why::Useless(message, remedy)) => {
                notes.error(made_of, message, remedy);
                return None;
            }
        };
        let mut count = 0;
        formula.parts(&mut |_| count += 1);
        if count == 0 {
            let message = "this is made of no point, so there is nothing to wait for";
            notes.error(made_of, message, "use a point of this device");
            return None;
        }
        let is_published = point.is_published();
        is_published.then(|| ComputedSettings { formula, ..point.computed(report, notes) })
    }

    /// Warns of points that nobody sees.
    pub(super) fn warn_of_hidden(&self, notes: &mut Notes<'_>) {
        for point in self.points {
            let is_used = self.used.contains(&point.name.value) || point.is_writable();
            if let Some(spot) = point.hidden().filter(|_| !is_used) {
                let message = "nobody sees this point: it is not published and no other uses it";
                notes.warning(spot, message, "remove `publish: false`, or the point");
            }
        }
    }

    fn formula(&mut self, point: &Point) -> Result<Formula, Why> {
        let name = &point.name.value;
        if self.open.contains(name) {
            let road: Vec<&str> = self.open.iter().map(|name| &**name).collect();
            let message = format!("this is made of itself, by way of {}", list(&road));
            return Err(Why::Circle(message));
        }
        self.open.push(Rc::clone(name));
        let formula = match (point.expression(), point.scale_by()) {
            (Some(text), _) => self.expression(text),
            (None, Some(scale)) => self.scaled(point, scale),
            (None, None) => self.read(point),
        };
        self.open.pop();
        formula
    }

    fn expression(&mut self, text: &At<Rc<str>>) -> Result<Formula, Why> {
        let mut why = None;
        let mut part = |name: &str| self.named(name).map_err(|error| why = Some(error)).ok();
        let parsed = Formula::parse(&text.value, &mut part);
        match (parsed, why) {
            (Ok(formula), _) if formula.size() > SIZE_MAX => {
                let message = "this is made of too many numbers, points and operators".to_owned();
                Err(Why::Useless(message, format!("make it of {SIZE_MAX} at most")))
            }
            (Ok(formula), _) => Ok(formula),
            (Err(_), Some(why @ (Why::Elsewhere | Why::Circle(_) | Why::Useless(..)))) => Err(why),
            (Err(error), _) => Err(Why::Useless(error.to_string(), self.remedy(&error))),
        }
    }

    fn scaled(&mut self, point: &Point, scale: &At<Rc<str>>) -> Result<Formula, Why> {
        let exponent = match self.named(&scale.value) {
            Err(Why::Unknown) => {
                let error = FormulaError::UnknownPart { name: scale.value.to_string() };
                return Err(Why::Useless(error.to_string(), self.remedy(&error)));
            }
            other => other?,
        };
        Ok(Formula::Call(Function::ScaleBy, vec![exponent, self.read(point)?]))
    }

    fn named(&mut self, name: &str) -> Result<Formula, Why> {
        let points = self.points;
        let point = points.iter().find(|point| &*point.name.value == name).ok_or(Why::Unknown)?;
        self.used.insert(Rc::clone(&point.name.value));
        let formula = self.formula(point);
        match formula {
            // What is wrong with that point is told there.
            Err(Why::Useless(..)) if point.made_of().is_some() => Err(Why::Elsewhere),
            other => other,
        }
    }

    fn read(&self, point: &Point) -> Result<Formula, Why> {
        let at = self.points.iter().position(|other| std::ptr::eq(other, point));
        let index = at.and_then(|at| *self.indices.get(at)?);
        let settled = index.and_then(|index| Some((index, self.settled.get(index)?)));
        let Some((index, settled)) = settled else { return Err(Why::Elsewhere) };
        // A bit counts as 1 or 0.
        let of_type =
            no_number(settled.value_type).filter(|_| settled.value_type != ValueType::Bool);
        let why = match of_type {
            None if settled.count.is_some() => Some("it is a list"),
            None if !settled.names.is_empty() => Some("`enum` makes a text of it"),
            None if !settled.bit_names.is_empty() => Some("`bits` makes a list of it"),
            why => why,
        };
        match why {
            None => Ok(Formula::Part(index)),
            Some(why) => {
                let message = format!("nobody can calculate with `{}`: {why}", point.name.value);
                Err(Why::Useless(message, "use a point that is a number".to_owned()))
            }
        }
    }

    fn remedy(&self, error: &FormulaError) -> String {
        let names: Vec<&str> = self.points.iter().map(|point| &*point.name.value).collect();
        let is_plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
        match error {
            FormulaError::UnknownPart { name } => match nearest(name, &names) {
                Some(near) if is_plain(near) => format!("did you mean `{near}`?"),
                Some(_) => "put backticks around a name with `-` or `.` in it".to_owned(),
                None if names
                    .iter()
                    .any(|known| known.starts_with(name.as_str()) && !is_plain(known)) =>
                {
                    "put backticks around a name with `-` or `.` in it".to_owned()
                }
                None => format!("the points of this device are {}", list(&names)),
            },
            FormulaError::UnknownFunction { .. } => {
                "the functions are abs, sqrt, round, floor, ceil, min and max".to_owned()
            }
            FormulaError::Unexpected { .. }
            | FormulaError::Arguments { .. }
            | FormulaError::TooDeep => "write it like `(a + b) * 0.1`".to_owned(),
        }
    }
}
