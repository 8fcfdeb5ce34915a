/// A date and time of day as `strftime_now` prints it, without a time zone. The caller reads the clock.
package struct TemplateDate: Sendable, Equatable {
  package var year: Int
  package var month: Int
  package var day: Int
  package var hour: Int
  package var minute: Int
  package var second: Int

  /// The local time `offset` seconds east of Greenwich at `epoch` seconds after 1970 began.
  package init(epoch: Int, offset: Int = 0) {
    let local = epoch.addingReportingOverflow(offset).partialValue
    var days = local / 86400
    var rest = local % 86400
    if rest < 0 {
      rest += 86400
      days -= 1
    }
    // Civil date from a day count: years of the 400-year cycle that begin in March, so that leap days come last.
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
    month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    hour = rest / 3600
    minute = rest % 3600 / 60
    second = rest % 60
  }

  /// Reads `2026-03-07T09:05:02` (a space may stand for the T, the time may be missing); nil where it is no such date.
  package init?(_ text: String) {
    let parts = text.split(whereSeparator: { !$0.isASCII || !$0.isNumber }).map { Int($0) }
    let numbers = parts.compactMap { $0 }
    guard numbers.count == parts.count, numbers.count == 3 || numbers.count >= 5,
      (1...9999).contains(numbers[0]), (1...12).contains(numbers[1]), (1...31).contains(numbers[2])
    else { return nil }
    let time = Array(numbers.dropFirst(3).prefix(3)) + [0, 0, 0]
    guard (0...23).contains(time[0]), (0...59).contains(time[1]), (0...60).contains(time[2]) else { return nil }
    (year, month, day, hour, minute, second) = (numbers[0], numbers[1], numbers[2], time[0], time[1], time[2])
  }

  /// Days since 1970 began.
  private var dayNumber: Int {
    let marchYear = month <= 2 ? year - 1 : year
    let era = (marchYear >= 0 ? marchYear : marchYear - 399) / 400
    let yearOfEra = marchYear - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  /// 0 is Sunday.
  private var weekday: Int { ((dayNumber + 4) % 7 + 7) % 7 }

  /// 1 is the first of January.
  private var dayOfYear: Int {
    var january = self
    (january.month, january.day) = (1, 1)
    return dayNumber - january.dayNumber + 1
  }

  /// Year and week by ISO 8601.
  private var isoWeek: (year: Int, week: Int) {
    let monday = (weekday + 6) % 7
    let week = (dayOfYear - 1 - monday + 10) / 7
    if week < 1 { return (year - 1, Self.isoWeeks(in: year - 1)) }
    return week > Self.isoWeeks(in: year) ? (year + 1, 1) : (year, week)
  }

  private static func isoWeeks(in year: Int) -> Int {
    func lastWeekday(_ year: Int) -> Int { (year + year / 4 - year / 100 + year / 400) % 7 }
    return lastWeekday(year) == 4 || lastWeekday(year - 1) == 3 ? 53 : 52
  }

  private static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
  private static let months = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
  ]

  /// `strftime` in the C locale: every directive of POSIX and the GNU flags `-`, `_`, `0`, `^` and `#`. What is no
  /// directive is printed as it stands.
  func formatted(_ format: JinjaText) throws(TemplateError) -> JinjaText {
    var out: [UInt8] = []
    let bytes = format.bytes
    var place = 0
    while place < bytes.count {
      let start = place
      place += 1
      guard bytes[start] == UInt8(ascii: "%") else {
        out.append(bytes[start])
        continue
      }
      var flag: Character?
      while place < bytes.count, "-_0^#".utf8.contains(bytes[place]) {
        flag = Character(Unicode.Scalar(bytes[place]))
        place += 1
      }
      if place < bytes.count, "EO".utf8.contains(bytes[place]) { place += 1 }
      guard place < bytes.count, bytes[place] < 0x80,
        let text = try directive(Character(Unicode.Scalar(bytes[place])), flag)
      else {
        out += bytes[start..<place]
        continue
      }
      place += 1
      out.append(text: flag == "^" ? text.uppercased() : text)
      try JinjaLimits.check(textBytes: out.count)
    }
    return JinjaText(bytes: out)
  }

  private func directive(_ letter: Character, _ flag: Character?) throws(TemplateError) -> String? {
    func number(_ value: Int, _ width: Int, pad: Character = "0") -> String {
      let filler: Character = flag == "_" ? " " : flag == "0" ? "0" : pad
      let digits = String(value)
      return flag == "-" ? digits : String(repeating: filler, count: max(0, width - digits.count)) + digits
    }
    func nested(_ format: JinjaText) throws(TemplateError) -> String { try formatted(format).string }
    let hour12 = hour % 12 == 0 ? 12 : hour % 12
    switch letter {
    case "a": return String(Self.weekdays[weekday].prefix(3))
    case "A": return Self.weekdays[weekday]
    case "b", "h": return String(Self.months[month - 1].prefix(3))
    case "B": return Self.months[month - 1]
    case "c": return try nested("%a %b %e %H:%M:%S %Y")
    case "C": return number(year / 100, 2)
    case "d": return number(day, 2)
    case "D", "x": return try nested("%m/%d/%y")
    case "e": return number(day, 2, pad: " ")
    case "f": return "000000"
    case "F": return try nested("%Y-%m-%d")
    case "g": return number(isoWeek.year % 100, 2)
    case "G": return number(isoWeek.year, 4)
    case "H": return number(hour, 2)
    case "I": return number(hour12, 2)
    case "j": return number(dayOfYear, 3)
    case "k": return number(hour, 2, pad: " ")
    case "l": return number(hour12, 2, pad: " ")
    case "m": return number(month, 2)
    case "M": return number(minute, 2)
    case "n": return "\n"
    case "p": return flag == "#" ? (hour < 12 ? "am" : "pm") : hour < 12 ? "AM" : "PM"
    case "P": return hour < 12 ? "am" : "pm"
    case "r": return try nested("%I:%M:%S %p")
    case "R": return try nested("%H:%M")
    case "s": return String(dayNumber * 86400 + hour * 3600 + minute * 60 + second)
    case "S": return number(second, 2)
    case "t": return "\t"
    case "T", "X": return try nested("%H:%M:%S")
    case "u": return String(weekday == 0 ? 7 : weekday)
    case "U": return number((dayOfYear + 6 - weekday) / 7, 2)
    case "V": return number(isoWeek.week, 2)
    case "w": return String(weekday)
    case "W": return number((dayOfYear + 6 - (weekday + 6) % 7) / 7, 2)
    case "y": return number(year % 100, 2)
    case "Y": return number(year, 1)
    case "z", "Z": return ""
    case "%": return "%"
    default: return nil
    }
  }
}
