package datadog

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMustHaves holds the list of what tests of a way to and from Datadog cannot do without, each
// with the tests that show it; and that they are there.
func TestMustHaves(t *testing.T) {
	const sink, source, provision, app, e2e = "sinks/datadog", "sources/datadog", "internal/provision", "internal/app", "test/e2e"
	for _, c := range []struct {
		what  string
		in    string
		tests string
	}{
		{"1 requests within the limits, what is stored is what was given less what was dropped", sink, "TestEveryRequestIsWithinLimitsAndEverythingIsStoredOnce TestHundredThousandSeries"},
		{"2 413 halves, a giant is dropped once", sink, "TestTooLargeIsHalvedAndAGiantIsDroppedOnce"},
		{"3 NaN, too old and future are counted, the rest is delivered", sink, "TestNaNTooOldAndFuturePointsAreCounted"},
		{"4 429, 5xx and resets end in one stored value, in order", sink, "TestFailuresEndInTheNewestValueStoredOnce TestPauseThatDatadogAsksForIsKept TestWaitsBetweenTriesAreRandom"},
		{"5 accepted, then 500", sink, "TestAcceptedThen500StoresTheSame"},
		{"6 flush on shutdown within 10 s", sink, "TestFlushOnShutdownWithinItsTime"},
		{"6 by the process", e2e, "TestDatadogGetsWhatItWasNotAbleToTake"},
		{"7 403 for five minutes, memory bounded", sink, "TestKeyRefusedForFiveMinutesThenNewestValues TestMemoryIsBoundedWhenSeriesComeAndGo TestKeyIsReadAgain TestKeyIsReadAgainWhenRefused"},
		{"8 every generated query is answered", app, "TestProvisionedQueriesAreAnswered"},
		{"8 names and tags as stored", sink, "TestWhatIsStoredAnswersQueries TestTagsAreNormalised"},
		{"9 the official client reads what was sent", sink, "TestOfficialClientReadsWhatWasSent TestPayloadIsAsRecorded"},
		{"10 late points count once, bit by bit", source, "TestLatePoints"},
		{"11 partial buckets are never counted", source, "TestPartialBuckets"},
		{"12 an interval that was not asked for is an error", source, "TestIntervalOverride"},
		{"13 good and total from one request", source, "TestOneRequestForAll TestBatches TestPartWithoutTotal"},
		{"14 a bad query is isolated", source, "TestBadQuery"},
		{"15 quota, and catching up", source, "TestStarvation TestPresentBeforePast TestTooManyRequests"},
		{"16 killed anywhere, the same totals", e2e, "TestKilledWhileAskingDatadog"},
		{"17 empty, null and zero", source, "TestEmptyNullZero"},
		{"18 applied twice writes nothing; 24 a plan writes nothing", provision, "TestTwice TestDifferences"},
		{"19 crashed anywhere duplicates nothing", provision, "TestKilledAnywhere TestKilledWhileMadeAgain"},
		{"20 created, and the answer lost", provision, "TestAnswerLost TestReadAfterWrite"},
		{"21 an empty listing stops it", provision, "TestEmptyListing TestPartialListing TestShortPages"},
		{"22 removal, and what is foreign", provision, "TestPrune TestForeign TestForeignCorrections TestRecordedObjectsAreForeign"},
		{"23 the order of deletions", provision, "TestPrune"},
		{"25 drift is shown and restored", provision, "TestDrift TestCorrectionDrift"},
		{"26 recordings against the fake", "test/datadog", "TestRecordedTraffic"},
		{"26 recordings against the source", source, "TestRecordedQueries TestRecordedAnswersAreNoCounts TestRecordedIndicators"},
		{"26 recordings against the provisioner", provision, "TestRecordedCreationsNeedNoChange"},
		{"nothing secret is said", sink, "TestNothingSecretIsSaid TestKeyDoesNotFollowRedirects"},
		{"one budget from Datadog and from Prometheus", e2e, "TestSameBudgetFromBoth"},
		{"the fake by hand", "test/datadog/demo", "TestDemoShowsWhatDatadogAnswers"},
	} {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(c.in), "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no tests in %s: %v", c.what, c.in, err)
		}
		var all strings.Builder
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
		for name := range strings.FieldsSeq(c.tests) {
			if !regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\) \{$`).MatchString(all.String()) {
				t.Errorf("%s: %s has no %s", c.what, c.in, name)
			}
		}
	}
}
