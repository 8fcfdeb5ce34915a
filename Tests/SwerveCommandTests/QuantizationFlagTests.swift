import SwerveCommand
import SwerveCore
import Testing

@Suite struct QuantizationFlagTests {
  static let methods: [([String], EngineConfiguration.Quantization)] = [
    ([], .none), (["--quantization", "none"], .none), (["-q", "null"], .none), (["--quantization", "auto"], .none),
    (["--quantization", "int8"], .int8), (["-q", "INT8"], .int8), (["-q", "int8_per_channel_weight_only"], .int8),
    (["--quantization=int4"], .int4), (["-q", "nf4"], .nf4), (["--quantization", "BitsAndBytes"], .nf4),
    (["-q", "int8-dynamic"], .int8Dynamic), (["-q", "int8_dynamic"], .int8Dynamic),
    (["-q", "int4-dynamic"], .int4Dynamic), (["--quantization", "INT4_dynamic"], .int4Dynamic),
    (["--load-8bit"], .int8), (["--load_4bit"], .nf4), (["--load-8bit", "false"], .none),
    (["--load-8bit", "--quantization", "int8"], .int8), (["--load-4bit", "-q", "bitsandbytes"], .nf4),
  ]

  @Test(arguments: methods.indices)
  func methodsHaveTheNamesPeopleKnow(_ row: Int) throws {
    let (arguments, expected) = Self.methods[row]
    #expect(try parse(arguments).settings.engine.quantization == expected, "\(arguments)")
  }

  @Test func theGroupIsAMemberOfTheConfiguration() throws {
    func group(_ arguments: [String]) throws -> Int? { try parse(arguments).settings.engine.quantizationGroup }
    #expect(try group(["-q", "int4", "--quantization-config", #"{"group_size": 32}"#]) == 32)
    #expect(try group(["--load-4bit", "--quantization-config.group_size", "128"]) == 128)
    #expect(try group(["-q", "int4", "--quantization-config", "{}"]) == nil)
    #expect(try group(["-q", "int8", "--quantization-config", "null"]) == nil)
  }

  static let refusals: [([String], String)] = [
    (["--load-8bit", "--load-4bit"], "exclude each other"),
    (["--load-4bit", "--quantization", "int8"], "--load-4bit means --quantization nf4"),
    (["--load-8bit", "-q", "int4"], "--load-8bit means --quantization int8"),
    (["--quantization", "gptq"], "gptq is not supported yet"), (["-q", "fp8"], "fp8 is not supported yet"),
    (["-q", "int4", "--quantization-config", #"{"group_size": 16}"#], "32, 64 or 128, not 16"),
    (["-q", "int4", "--quantization-config", #"{"group_size": "a"}"#], "32, 64 or 128"),
    (["-q", "int4", "--quantization-config", #"{"bits": 4}"#], "bits is not supported yet"),
    (["-q", "int4", "--quantization-config", "[1]"], "needs a JSON object"),
    (["-q", "int8", "--quantization-config", #"{"group_size": 64}"#], "for --quantization int4 or nf4, not int8"),
    (["--quantization-config", #"{"group_size": 64}"#], "for --quantization int4 or nf4, not none"),
  ]

  @Test(arguments: refusals.indices)
  func whatCannotBeIsSaidInASentence(_ row: Int) {
    let (arguments, part) = Self.refusals[row]
    let found = problems(arguments)
    #expect(found.count == 1 && found.first?.contains(part) == true, "\(arguments): \(found)")
  }
}
