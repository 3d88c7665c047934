"""Who is drawn in which colour: the same on every page, in every chart and picture."""

TEACHER, STUDENT, RIGHT, WRONG = "#4269d0", "#e8710a", "#3a9a5b", "#d64550"
"""The colours of the teacher, the student, the truth and a mistake, the same on every page."""

STUDENTS = ("#e8710a", "#3a9a5b", "#a463f2", "#d64550", "#0e9fad", "#9c6b4e", "#e377c2", "#6b7280")
"""One colour a student, in order; none of them is the teacher's."""
