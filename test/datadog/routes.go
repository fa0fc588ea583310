package datadog

import (
	"context"
	"net/http"
	"slices"
)

// route is one endpoint.
type route struct {
	pattern string // as http.ServeMux takes it
	app     bool   // wants an application key too
	quota   string // "" is not limited
	serve   func(*Datadog, *call)
}

func (d *Datadog) routes() {
	for _, r := range []route{
		{"GET /api/v1/validate", false, "", (*Datadog).validate},
		{"POST /api/v1/series", false, "", (*Datadog).seriesV1},
		{"POST /api/v2/series", false, "", (*Datadog).seriesV2},

		{"GET /api/v1/query", true, "query", (*Datadog).queryV1},
		{"POST /api/v2/query/timeseries", true, "query_v2", (*Datadog).timeseriesV2},
		{"POST /api/v2/query/scalar", true, "query_v2", (*Datadog).scalarV2},
		{"GET /api/v1/metrics", true, "metrics", (*Datadog).metrics},
		{"GET /api/v1/metrics/{name}", true, "", (*Datadog).metadata},
		{"PUT /api/v1/metrics/{name}", true, "metric_metadata", (*Datadog).setMetadata},
		{"GET /api/v1/search", true, "", (*Datadog).search},

		{"POST /api/v1/monitor", true, "post_monitors", (*Datadog).createMonitor},
		{"GET /api/v1/monitor", true, "get_all_monitors", (*Datadog).listMonitors},
		{"GET /api/v1/monitor/{id}", true, "get_monitors", (*Datadog).getMonitor},
		{"PUT /api/v1/monitor/{id}", true, "put_monitors", (*Datadog).updateMonitor},
		{"DELETE /api/v1/monitor/{id}", true, "global_org", (*Datadog).deleteMonitor},
		{"POST /api/v1/monitor/validate", true, "global_org", (*Datadog).validateMonitor},
		{"POST /api/v1/monitor/{id}/validate", true, "global_org", (*Datadog).validateMonitor},
		{"GET /api/v1/monitor/can_delete", true, "global_org", (*Datadog).canDeleteMonitors},
		{"GET /api/v1/monitor/search", true, "global_org", (*Datadog).searchMonitors},

		{"POST /api/v1/dashboard", true, "dashboards", (*Datadog).createDashboard},
		{"GET /api/v1/dashboard", true, "dashboards_list", (*Datadog).listDashboards},
		{"DELETE /api/v1/dashboard", true, "dashboards", (*Datadog).deleteDashboards},
		{"GET /api/v1/dashboard/{id}", true, "dashboards", (*Datadog).getDashboard},
		{"PUT /api/v1/dashboard/{id}", true, "dashboards", (*Datadog).updateDashboard},
		{"DELETE /api/v1/dashboard/{id}", true, "dashboards", (*Datadog).deleteDashboard},

		{"POST /api/v1/slo", true, "slo_create", (*Datadog).createSLO},
		{"GET /api/v1/slo", true, "slo_list", (*Datadog).listSLOs},
		{"GET /api/v1/slo/search", true, "slo_list", (*Datadog).searchSLOs},
		{"GET /api/v1/slo/can_delete", true, "slo_check_can_delete", (*Datadog).canDeleteSLOs},
		{"POST /api/v1/slo/bulk_delete", true, "slo_delete", (*Datadog).bulkDeleteSLOs},
		{"GET /api/v1/slo/{id}", true, "slo_get", (*Datadog).getSLO},
		{"PUT /api/v1/slo/{id}", true, "slo_update", (*Datadog).updateSLO},
		{"DELETE /api/v1/slo/{id}", true, "slo_delete", (*Datadog).deleteSLO},
		{"GET /api/v1/slo/{id}/{what}", true, "slo_history", (*Datadog).aboutSLO},
		{"POST /api/v1/slo/correction", true, "global_org", (*Datadog).createCorrection},
		{"GET /api/v1/slo/correction", true, "global_org", (*Datadog).listCorrections},
		{"GET /api/v1/slo/correction/{id}", true, "global_org", (*Datadog).getCorrection},
		{"PATCH /api/v1/slo/correction/{id}", true, "global_org", (*Datadog).updateCorrection},
		{"DELETE /api/v1/slo/correction/{id}", true, "global_org", (*Datadog).deleteCorrection},
	} {
		d.mux.HandleFunc(r.pattern, func(_ http.ResponseWriter, q *http.Request) { d.enter(r, callOf(q)) })
	}
}

// enter checks keys and quota, and lets the endpoint answer.
func (d *Datadog) enter(r route, c *call) {
	if !slices.Contains(d.options.APIKeys, c.Header.Get("DD-API-KEY")) ||
		r.app && !slices.Contains(d.options.AppKeys, c.Header.Get("DD-APPLICATION-KEY")) {
		if r.pattern == "GET /api/v1/metrics/{name}" { // refused by the endpoint, not by the balancer
			c.fail(http.StatusForbidden, "Forbidden")
			return
		}
		c.answer.set(http.StatusForbidden, "application/json", forbidden)
		return
	}
	if r.quota != "" && !d.quotas.take(r.quota, d.time(), c.answer.header) {
		c.fail(http.StatusTooManyRequests, "Too many requests")
		return
	}
	r.serve(d, c)
}

func (d *Datadog) validate(c *call) { c.json(http.StatusOK, map[string]any{"valid": true}) }

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callOf is the call that a request at an endpoint belongs to, with the path's values in it.
func callOf(r *http.Request) *call {
	c, _ := r.Context().Value(callKey{}).(*call) // serve put it there
	c.Request = r
	return c
}
