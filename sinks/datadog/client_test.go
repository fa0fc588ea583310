package datadog

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"testing"

	client "github.com/DataDog/datadog-api-client-go/v2/api/datadog"
	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"

	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// whole fails when a model of the client, or any within it, holds what the client could not read.
// Fields that the client has no name for are fine in an answer, the real one has them too (that
// they are the same is what the recordings show); in what is sent they are not.
func whole(t *testing.T, what string, v any, sent bool) {
	t.Helper()
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(path, v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(path+"["+strconv.Itoa(i)+"]", v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				field := v.Type().Field(i)
				if !field.IsExported() {
					continue
				}
				switch field.Name {
				case "UnparsedObject":
					if !v.Field(i).IsZero() {
						t.Errorf("%s: %s: the client cannot read %v", what, path, v.Field(i))
					}
				case "AdditionalProperties":
					if sent && v.Field(i).Len() > 0 {
						t.Errorf("%s: %s: the client does not know %v", what, path, v.Field(i))
					}
				default:
					walk(path+"."+field.Name, v.Field(i))
				}
			}
		}
	}
	walk("", reflect.ValueOf(v))
}

// TestOfficialClientDrivesTheFake goes every way that yoyu goes, and reads every answer.
func TestOfficialClientDrivesTheFake(t *testing.T) {
	d := fake.Start(t, fake.Options{})
	settings := client.NewConfiguration()
	api := client.NewAPIClient(settings)
	ctx := context.WithValue(t.Context(), client.ContextServerIndex, 1)
	ctx = context.WithValue(ctx, client.ContextServerVariables, map[string]string{"protocol": "http", "name": d.URL[len("http://"):]})
	ctx = context.WithValue(ctx, client.ContextAPIKeys, map[string]client.APIKey{"apiKeyAuth": {Key: fake.APIKey}, "appKeyAuth": {Key: fake.AppKey}})
	must := func(what string, answer any, _ *http.Response, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		whole(t, what, answer, false)
	}
	read := func(text string, into any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
		whole(t, "what is sent", into, true)
	}

	valid, response, err := datadogV1.NewAuthenticationApi(api).Validate(ctx)
	must("validate", valid, response, err)

	metrics := datadogV1.NewMetricsApi(api)
	at, value := float64(d.Now().Unix()), 2.5
	gauge := "gauge"
	accepted, response, err := metrics.SubmitMetrics(ctx, datadogV1.MetricsPayload{Series: []datadogV1.Series{
		{Metric: "slo.burn_rate", Type: &gauge, Tags: []string{"slo:a", "window:1h"}, Points: [][]*float64{{&at, &value}}},
	}})
	must("submit", accepted, response, err)
	found, response, err := metrics.QueryMetrics(ctx, int64(at)-600, int64(at)+60, "max:slo.burn_rate{*} by {slo},max:slo.nothing{*}")
	must("query", found, response, err)
	if len(found.Series) != 1 || *found.Series[0].Pointlist[0][1] != value || found.Series[0].GetInterval() == 0 || found.Series[0].GetQueryIndex() != 0 {
		t.Errorf("query: %+v", found.Series)
	}
	if response.Header.Get("X-Ratelimit-Limit") != "1600" || response.Header.Get("X-Ratelimit-Remaining") != "1599" {
		t.Errorf("query: quota %v", response.Header)
	}
	names, response, err := metrics.ListActiveMetrics(ctx, int64(at)-600)
	must("metrics", names, response, err)

	monitors := datadogV1.NewMonitorsApi(api)
	var monitor datadogV1.Monitor
	read(`{"name":"burn","type":"query alert","query":"max(last_5m):max:slo.burn_rate{window:1h} by {slo} >= 1","message":"m","tags":["managed_by:yoyu"],
		"priority":2,"options":{"thresholds":{"critical":1},"include_tags":true,"notify_audit":false,"require_full_window":false,"notify_no_data":true,"no_data_timeframe":20,"new_group_delay":0,"renotify_interval":0}}`, &monitor)
	_, response, err = monitors.ValidateMonitor(ctx, monitor)
	must("validate a monitor", nil, response, err)
	made, response, err := monitors.CreateMonitor(ctx, monitor)
	must("create a monitor", made, response, err)
	if _, _, err := monitors.CreateMonitor(ctx, monitor); err == nil {
		t.Error("the same monitor is created twice")
	}
	update := datadogV1.MonitorUpdateRequest{Message: client.PtrString("other")}
	changed, response, err := monitors.UpdateMonitor(ctx, made.GetId(), update)
	must("update a monitor", changed, response, err)
	if changed.GetMessage() != "other" || changed.Query != monitor.Query {
		t.Errorf("update: %+v", changed)
	}
	one, response, err := monitors.GetMonitor(ctx, made.GetId())
	must("get a monitor", one, response, err)
	list, response, err := monitors.ListMonitors(ctx, *datadogV1.NewListMonitorsOptionalParameters().WithMonitorTags("managed_by:yoyu").WithPage(0).WithPageSize(1000))
	must("list monitors", list, response, err)
	if len(list) != 1 {
		t.Errorf("%d monitors are listed", len(list))
	}

	slos := datadogV1.NewServiceLevelObjectivesApi(api)
	var objective datadogV1.ServiceLevelObjectiveRequest
	read(`{"name":"checkout","type":"metric","description":"d","query":{"numerator":"sum:hits{code:2xx}.as_count()","denominator":"sum:hits{*}.as_count()"},
		"thresholds":[{"timeframe":"30d","target":99.9,"warning":99.95}],"tags":["managed_by:yoyu","b:c","a:b"]}`, &objective)
	kept, response, err := slos.CreateSLO(ctx, objective)
	must("create an SLO", kept, response, err)
	id := kept.Data[0].GetId()
	single, response, err := slos.GetSLO(ctx, id)
	must("get an SLO", single, response, err)
	all, response, err := slos.ListSLOs(ctx, *datadogV1.NewListSLOsOptionalParameters().WithTagsQuery("managed_by:yoyu"))
	must("list SLOs", all, response, err)
	history, response, err := slos.GetSLOHistory(ctx, id, int64(at)-86400, int64(at))
	must("history", history, response, err)

	corrections := datadogV1.NewServiceLevelObjectiveCorrectionsApi(api)
	var correction datadogV1.SLOCorrectionCreateRequest
	read(`{"data":{"type":"correction","attributes":{"slo_id":"`+id+`","start":1767312000,"end":1767315600,"category":"Deployment","timezone":"UTC","description":"d"}}}`, &correction)
	corrected, response, err := corrections.CreateSLOCorrection(ctx, correction)
	must("create a correction", corrected, response, err)
	listed, response, err := corrections.ListSLOCorrection(ctx)
	must("list corrections", listed, response, err)
	if _, err := corrections.DeleteSLOCorrection(ctx, corrected.Data.GetId()); err != nil {
		t.Error(err)
	}

	dashboards := datadogV1.NewDashboardsApi(api)
	var board datadogV1.Dashboard
	read(`{"title":"SLO: checkout","description":"managed_by:yoyu","layout_type":"ordered","template_variables":[{"name":"env","prefix":"env","available_values":[],"defaults":["*"]}],"widgets":[
		{"definition":{"type":"note","content":"# Runbook"}},
		{"definition":{"type":"timeseries","title":"Burn rate","requests":[{"response_format":"timeseries","display_type":"line","queries":[{"data_source":"metrics","name":"query1","query":"max:slo.burn_rate{$env} by {window}"}],"formulas":[{"formula":"query1 * 100"}]}]}},
		{"definition":{"type":"slo","slo_id":"`+id+`","view_type":"detail","view_mode":"overall","time_windows":["7d"],"show_error_budget":true,"global_time_target":"0"}}]}`, &board)
	drawn, response, err := dashboards.CreateDashboard(ctx, board)
	must("create a dashboard", drawn, response, err)
	drawn, response, err = dashboards.UpdateDashboard(ctx, drawn.GetId(), board)
	must("update a dashboard", drawn, response, err)
	shown, response, err := dashboards.ListDashboards(ctx)
	must("list dashboards", shown, response, err)
	if _, response, err := slos.DeleteSLO(ctx, id); err == nil || response.StatusCode != http.StatusConflict {
		t.Errorf("an SLO that a dashboard shows: %v", err)
	}
	if _, _, err := dashboards.DeleteDashboard(ctx, drawn.GetId()); err != nil {
		t.Error(err)
	}
	if _, _, err := slos.DeleteSLO(ctx, id); err != nil {
		t.Error(err)
	}
	if _, _, err := monitors.DeleteMonitor(ctx, made.GetId()); err != nil {
		t.Error(err)
	}
	if n := len(d.Monitors()) + len(d.SLOs()) + len(d.Dashboards()) + len(d.Corrections()); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}
