import SwerveTiers
import Testing

@Suite struct SpecificationTests {
  @Test func everyTierIsRead() throws {
    let all = try TierSpecification(
      parsing: "device=auto,host=32GiB:policy=cost,nvme=500GiB:/var/lib/kv:dtype=int8:policy=lru:readonly")
    #expect(all.device == .auto)
    #expect(all.host?.capacityBytes == 32 << 30 && all.host?.options.policy == .cost)
    #expect(all.nvme?.capacityBytes == 500 << 30 && all.nvme?.folder == "/var/lib/kv")
    #expect(all.nvme?.options.precision == .int8 && all.nvme?.options.isReadOnly == true)
    #expect(try TierSpecification(parsing: "device") == TierSpecification())
    #expect(try TierSpecification(parsing: "device=4GiB").device == .bytes(4 << 30))
    let files = try TierSpecification(parsing: "nvme=1.5MB:/k:dtype=int4")
    #expect(files.host == nil && files.nvme?.capacityBytes == 1_500_000 && files.nvme?.options.precision == .int4)
    #expect(try TierSpecification(parsing: "host=4096:dtype=auto").host?.capacityBytes == 4096)
  }

  @Test(arguments: [
    ("", "holds an empty tier"), ("host=1GiB,", "holds an empty tier"), ("gpu=1", "names no tier"),
    ("remote=valkeys://h:1", "is not available"), ("host", "has no size; write host=32GiB"),
    ("host=", "has no size that is a positive number"), ("host=0", "positive number"),
    ("host=-1GiB", "positive number"),
    ("host=1e9", "positive number"), ("host=nanGiB", "positive number"), ("host=9999999TiB", "positive number"),
    ("host=1.2.3GiB", "positive number"), ("host=auto", "positive number"), ("nvme=1GiB", "no absolute folder"),
    ("nvme=1GiB:kv", "no absolute folder"), ("nvme=1GiB:/k:dtype=fp8", "unknown dtype"),
    ("nvme=1GiB:/k:dtype", "unknown dtype"), ("nvme=1GiB:/k:policy=arc", "unknown policy"),
    ("nvme=1GiB:/k:fast", "unknown option 'fast'"), ("nvme=1GiB:/k:", "unknown option ''"),
    ("nvme=1GiB:/k:readonly=1", "unknown option"), ("nvme=1GiB:/k:dtype=int8:dtype=int4", "'dtype' twice"),
    ("host=1GiB:readonly", "cannot be read-only"), ("device=1GiB:dtype=int8", "has options"),
    ("device=auto:policy=lru", "positive number"), ("host=1GiB,host=2GiB", "is there twice"),
    ("nvme=1GiB:/k,host=1GiB", "comes after a slower tier"),
  ])
  func whatIsWrongIsSaidInASentence(text: String, reason: String) {
    #expect {
      try TierSpecification(parsing: text)
    } throws: {
      let sentence = "\($0)"
      let isRight = sentence.hasPrefix("--kv-tiers: '") && sentence.contains(reason) && sentence.hasSuffix(".")
      #expect(isRight, "\(sentence)")
      return isRight
    }
  }
}
