"""A runner whose module a device does not have, as that of a runtime that is not installed there."""


class AbsentRunner:
    package = "absent-runtime"
