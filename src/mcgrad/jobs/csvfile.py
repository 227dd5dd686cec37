"""Read columns of numbers from a CSV file, by Python's csv module; errors name the line and the column."""

from __future__ import annotations

import csv
import itertools
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
import numpy.typing as npt

from mcgrad.errors import ParameterError, shown, shown_names

SWAPPED = str.maketrans(",.", ".,")
LONGEST_LINE = 1 << 26  # characters; a longer line is refused before it fills the memory
Column = str | int
Columns = Column | Sequence[Column] | None


@dataclass(frozen=True)
class CSVFile:
    """A CSV file, which columns to read, and its format; the parameters are the keys of a job's value.

    Parameters
    ----------
    key : str
        Key in the job, for errors.
    path : Path
    columns : str, int or list of such, optional
        Names in the first line, or numbers from 1. One gives shape (rows,); a list, or nothing for all columns, gives
        (rows, columns).
    delimiter : str
    header : bool, optional
        Whether the first line has names. Left out: it has, and is refused where a column that is read has a number in
        it.
    decimal : {".", ","}
        What stands before the digits after the decimal point; the other one is refused.

    Notes
    -----
    UTF-8, with or without a byte order mark; any line ends; fields may be quoted. Blank lines are skipped, except
    before a line of a single column, where they may stand for a value that is missing. A number is what `float`
    reads, in ASCII and without underscores, "nan" and "inf" among them; one beyond float64's range is refused.
    """

    key: str
    path: Path
    columns: Columns = None
    delimiter: str = ","
    header: bool | None = None
    decimal: str = "."

    def read(self) -> npt.NDArray[np.float64]:
        """Return the columns.

        Raises
        ------
        ParameterError
            The file, or a number in it, is not as expected; the message has the file, the line and the column.
        """
        try:
            with self.path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
                return self._columns(self._rows(file))
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._refuse(f"{self.path.name}, which cannot be read ({reason})", "a file that can")

    def _columns(self, rows: Iterator[tuple[int, list[str]]]) -> npt.NDArray[np.float64]:
        first = next((found for found in rows if found[1]), None)
        if first is None:
            self._refuse(f"{self.path.name}, which is empty", "a line of names, then lines of numbers")
        names = None if self.header is False else [name.strip() for name in first[1]]
        width = len(first[1])
        indices = self._indices(names, width)
        if names is None:
            rows = itertools.chain([first], rows)
        elif not self.header:
            self._refuse_numbers(first[0], names, indices)
        numbers, chosen = array("d"), indices if indices != list(range(width)) else None
        blank = 0
        for line, row in rows:
            if not row:
                blank = line
                continue
            if len(row) != width:
                self._refuse_width(line, len(row), width)
            if blank and width == 1:
                self._refuse(f"nothing in line {blank} of {self.path.name}", "a number in each line of a single column")
            fields = row if chosen is None else [row[index] for index in chosen]
            if self.decimal != ".":
                fields = [field.translate(SWAPPED) for field in fields]
            text = "".join(fields)
            try:
                values = [float(field) for field in fields]
            except ValueError:
                values = []
            if not values or "_" in text or not text.isascii() or not math.isfinite(sum(values)):
                values = [self._number(line, index, names, row[index]) for index in indices]
            numbers.extend(values)
        if not numbers:
            self._refuse(f"{self.path.name}, which has names only", "lines of numbers below the names")
        table = np.frombuffer(numbers).reshape(-1, len(indices))
        return table[:, 0] if isinstance(self.columns, str | int) else table

    def _rows(self, file: TextIO) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the line where a row starts, from 1, and its fields; a blank line has none."""
        reader = csv.reader(self._lines(file), delimiter=self.delimiter, skipinitialspace=True, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader, None)
            except csv.Error as error:
                self._refuse(f"line {line} of {self.path.name}, which is not CSV ({error})", self._accepted_file())
            if row is None:
                return
            yield line, row

    def _lines(self, file: TextIO) -> Iterator[str]:
        for number in itertools.count(1):
            line = file.readline(LONGEST_LINE)
            if not line:
                return
            if len(line) == LONGEST_LINE:
                given = f"line {number} of {self.path.name}, which has {LONGEST_LINE:,} characters or more"
                self._refuse(given, self._accepted_file())
            if "\0" in line or (not line.isascii() and any("\udc80" <= letter <= "\udcff" for letter in line)):
                accepted = 'a CSV file in UTF-8, which Excel saves as "CSV UTF-8"'
                self._refuse(f"line {number} of {self.path.name}, which is not UTF-8", accepted)
            yield line

    def _indices(self, names: list[str] | None, width: int) -> list[int]:
        """Return the indices of the columns that are read."""
        file, columns = self.path.name, self.columns
        if columns is None and names is None:
            return list(range(width))
        if columns is None:
            assert names is not None
            columns = names
        counts = Counter(names or ())
        by_name = {name: index for index, name in enumerate(names or ())}
        indices = []
        for column in [columns] if isinstance(columns, str | int) else columns:
            if isinstance(column, int):
                if not 1 <= column <= width:
                    self._refuse(f"column {column} of {file}", f"1 to {width}")
                indices.append(column - 1)
            elif names is None:
                given = f"column {shown(column)} of {file}, whose columns have no names"
                self._refuse(given, f"numbers from 1 to {width}")
            elif column not in by_name or not column:
                given = f"column {shown(column)} of {file}" if column else f"a column of {file} that has no name"
                self._refuse(given, f"its columns: {shown_names(names)}{self._other_delimiter(names)}")
            elif counts[column] > 1:
                given = f"column {shown(column)} of {file}, which has {counts[column]} of that name"
                self._refuse(given, "a name of its own for each column, or their numbers, from 1")
            else:
                indices.append(by_name[column])
        return indices

    def _refuse_numbers(self, line: int, names: list[str], indices: list[int]) -> None:
        """Refuse a first line that may hold numbers rather than names."""
        for index in indices:
            if self._is_number(names[index]):
                given = f"the number {shown(names[index])} in line {line} of {self.path.name}, where names are expected"
                example = f'{{ file = "{self.path.name}", header = false }}'
                self._refuse(given, f"names of columns; {example} if there are none, true if that is a name")

    def _refuse_width(self, line: int, found: int, width: int) -> NoReturn:
        given = f"{found} field{'s' * (found > 1)} in line {line} of {self.path.name}, whose first line has {width}"
        accepted = "as many in each line"
        if found > width and self.delimiter == ",":
            accepted += "; a decimal comma makes two fields, unless the delimiter is another"
        self._refuse(given, accepted)

    def _number(self, line: int, index: int, names: list[str] | None, field: str) -> float:
        """Return a field's number, or refuse it by the name of its column and the number of its line."""
        name = shown(names[index]) if names else str(index + 1)
        where = f"column {name}, line {line} of {self.path.name}"
        if not field.strip():
            self._refuse(f"nothing in {where}", "a number; nan where there is none")
        if not self._is_number(field):
            comma = ""
            if "," in field and self.decimal == ".":
                comma = ' with a decimal point and no other marks, or decimal = "," where the comma is the decimal one'
            self._refuse(f"{shown(field)} in {where}", f"numbers{comma}{self._other_delimiter([field])}")
        value = float(self._text(field))
        if math.isinf(value) and "n" not in field.lower():  # neither inf nor infinity
            self._refuse(f"{shown(field)} in {where}", "numbers within the range of float64, up to 1.8e308")
        return value

    def _is_number(self, field: str) -> bool:
        try:
            float(self._text(field))
        except ValueError:
            return False
        return field.isascii() and "_" not in field

    def _text(self, field: str) -> str:
        return field if self.decimal == "." else field.translate(SWAPPED)

    def _other_delimiter(self, fields: list[str]) -> str:
        for other in ";\t|":
            if len(fields) == 1 and other in fields[0] and other != self.delimiter:
                name = "\\t" if other == "\t" else other
                return f'; with {{ file = "{self.path.name}", delimiter = "{name}" }} other columns'
        return ""

    def _accepted_file(self) -> str:
        return "lines of fields, quoted where they hold a delimiter, a quote or a line end"

    def _refuse(self, given: str, accepted: str) -> NoReturn:
        raise ParameterError(self.key, given, accepted) from None


def options(key: str, given: dict[str, Any]) -> dict[str, Any]:
    """Check the options of a job for a CSV file: `columns`, `delimiter`, `header`, `decimal`."""
    columns, delimiter, header = given.get("columns"), given.get("delimiter", ","), given.get("header")
    decimal = given.get("decimal", ".")
    for column in columns if isinstance(columns, list) and columns else [columns]:
        if columns is not None and (isinstance(column, bool) or not isinstance(column, str | int)):
            raise ParameterError(f"{key}.columns", shown(columns), "a name, a number from 1, or a list of such")
    if header is not None and not isinstance(header, bool):
        raise ParameterError(f"{key}.header", shown(header), "true or false")
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter.isalnum() or delimiter in '"+-._\r\n\0':
        raise ParameterError(f"{key}.delimiter", shown(delimiter), 'one character, such as "," or ";" or "\\t"')
    if decimal not in (".", ","):
        raise ParameterError(f"{key}.decimal", shown(decimal), '"." or ","')
    return {"columns": columns, "delimiter": delimiter, "header": header, "decimal": decimal}
